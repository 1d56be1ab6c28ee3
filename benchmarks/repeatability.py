"""Check whether repeated measurements agree: `python -m benchmarks.repeatability STUDY.yaml [--times 10] [--models 10]`.

Models of a study's front, from the slowest to the fastest, are measured in each round, each in a fresh process and in a random
order, while another process computes on one core for half of the time. Inputs have 32 tokens where the study takes the lengths
of its data. Each process measures a model twice: beside the timing reference, as a study does, and beside the teacher itself.
Results are kept in a file; a second call goes on where the first one ended.

Two measurements of one model agree if they differ by no more than the interval of their difference, which is computed from both
stated intervals. In one study all speed-ups share one ratio of teacher to timing reference. The strictest row therefore
pairs a measurement of the first half of the time with one of the second half, each composed with the teacher's measurements of
its own half.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from autocompress import benchmarking
from autocompress.actions.locate import StudyLocation, locate
from autocompress.benchmarking.backends import ReferenceTiming, TeacherTiming, open_backend
from autocompress.benchmarking.teacher_records import pool_calm
from autocompress.config import Device
from autocompress.core.composed_speedup import ComposedSpeedup, Ratio
from autocompress.storage.artifact_store import Store

MODELS = 10
TOKENS = 32
LOAD_SECONDS = 2.0  # mean length of the phases with and without load
Pair = tuple[Ratio, Ratio]


@dataclass(frozen=True)
class Measured:
    """One measurement of one model in one process."""

    round: int
    trial: int
    time: float  # of its end, seconds since 1970
    candidate: Ratio  # timing reference ÷ model
    direct: Ratio  # teacher ÷ model, in blocks that alternate

    @classmethod
    def from_json(cls, line: str) -> Measured:
        """Return what a line of the file holds."""
        values = json.loads(line)
        candidate, direct = (Ratio(**values.pop(name)) for name in ("candidate", "direct"))
        return cls(candidate=candidate, direct=direct, **values)


def main() -> None:
    """Measure the missing rounds, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument(
        "--to", type=Path, help="file of the results (default: repeatability.jsonl beside the artifacts)"
    )
    parser.add_argument("--one", nargs=4, metavar=("ROUND", "TRIAL", "MODEL", "REFERENCE"), help="for internal use")
    arguments = parser.parse_args()
    located = locate(arguments.study, None)
    view = located.view()
    store, teacher = located.store(view), view.row(0).sha256
    assert teacher is not None
    if arguments.one:
        number, trial, model, reference = arguments.one
        timing = open_timing(view.plan, store, teacher, Path(reference))
        print(json.dumps(asdict(measure(timing, int(number), int(trial), store.artifact(model)))))
        return
    rows = sorted(view.front, key=lambda row: row.latency_ms or 0.0)
    count = min(arguments.models, len(rows))
    chosen = [rows[round(index * (len(rows) - 1) / max(1, count - 1))] for index in range(count)]
    models = {row.trial: row.sha256 for row in chosen if row.sha256}
    reference = deploy_reference(located, store)
    file: Path = arguments.to or store.root.parent / "repeatability.jsonl"
    with background_load():
        for number in range(arguments.times):
            run_round(arguments.study, number, models, reference, file)
    results = [result for result in read(file) if result.trial in models and result.round < arguments.times]
    feeds = feeds_of(store.artifact(teacher), view.plan)
    records = open_timing(view.plan, store, teacher, reference).records(feeds)
    print_tables(results, records.read(), records.reference_ms())


def run_round(study: str, number: int, models: dict[int, str], reference: Path, file: Path) -> None:
    """Measure all models of a round that the file does not hold, each in a fresh process; add them to the file."""
    measured = {(result.round, result.trial) for result in read(file)}
    for trial in random.Random(number).sample(sorted(models), len(models)):
        if (number, trial) not in measured:
            one = [str(number), str(trial), models[trial], str(reference)]
            command = [sys.executable, "-m", "benchmarks.repeatability", study, "--one", *one]
            line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            with file.open("a", encoding="utf-8") as lines:
                lines.write(line + "\n")
    results = read(file)
    agreed = [agree(pair) for pair in pairs_of_models(results, [result.candidate for result in results])]
    print(f"round {number + 1}: {percent(agreed)} of {len(agreed)} pairs agree", file=sys.stderr, flush=True)


def read(file: Path) -> list[Measured]:
    """Return the results so far."""
    return [Measured.from_json(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


# ---- one measurement -------------------------------------------------------------------------------------------------


def open_timing(plan: dict[str, object], store: Store, teacher: str, reference: Path) -> ReferenceTiming:
    """Return how the study's first device times models."""
    device = Device.model_validate(plan["device"])
    return ReferenceTiming(open_backend(device, "device"), store, teacher, reference)


def feeds_of(model: Path, plan: dict[str, object]) -> benchmarking.Feeds:
    """Return the inputs to time."""
    device = Device.model_validate(plan["device"])
    vocabulary = int(json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"])
    tokens = TOKENS if device.tokens == "data" else device.tokens
    return benchmarking.latency_feeds(vocabulary, device.batch, tokens, (), 0)


def measure(timing: ReferenceTiming, number: int, trial: int, model: Path) -> Measured:
    """Measure one model as a search measures a finalist, and beside the teacher."""
    device = timing.backend.device
    feeds = feeds_of(model, {"device": device.model_dump()})
    budget = replace(benchmarking.THOROUGH_TIMING, further=False)
    composed = ComposedSpeedup.from_conditions(timing.time(model, feeds, budget).conditions)
    assert composed is not None
    direct = TeacherTiming(timing.backend, timing.store, timing.teacher).time(model, feeds, budget)
    return Measured(
        round=number,
        trial=trial,
        time=time.time(),
        candidate=composed.candidate,
        direct=Ratio.of(direct.latency),
    )


def deploy_reference(located: StudyLocation, store: Store) -> Path:
    """Return the artifact of the study's timing reference."""
    from autocompress.search.stage_timer import StageTimer
    from autocompress.search.timing_reference import deploy_timing_reference
    from autocompress.search.trial_pipeline import TrialPipeline

    plan = located.plan("repeatability")
    context = TrialPipeline(plan, store).context
    context.teacher.load(StageTimer(lambda stage, fraction: None))
    reference = deploy_timing_reference(context, plan.device.runtime)
    if reference is None:
        raise SystemExit("the teacher's family is unknown: its models are timed beside the teacher alone")
    return reference


# ---- tables ----------------------------------------------------------------------------------------------------------


def print_tables(results: Sequence[Measured], records: np.ndarray, calm_reference_ms: float | None) -> None:
    """Print a table of the models, and the agreement of pairs for each way of timing."""
    final = pool_calm(records, calm_reference_ms)
    print("\n| trial | speed-up | half-width, ± | beside the teacher | half-width, ± |\n|--:|--:|--:|--:|--:|")
    for trial in sorted({result.trial for result in results}):
        mine = [result for result in results if result.trial == trial]
        beside = [result.candidate.times(final) for result in mine], [result.direct for result in mine]
        print(f"| {trial} | {' | '.join(map(describe, beside))} |")
    then = [result.candidate.times(pool_until(records, calm_reference_ms, result.time)) for result in results]
    pooled, direct = [result.candidate.times(final) for result in results], [result.direct for result in results]
    halves = pairs_of_halves(results, records, calm_reference_ms)
    table = {
        "timing reference, the teacher's measurements until then": (then, pairs_of_models(results, then)),
        "timing reference, all measurements of the teacher": (pooled, pairs_of_models(results, pooled)),
        "timing reference, each half of the time with its own": ([ratio for pair in halves for ratio in pair], halves),
        "beside the teacher": (direct, pairs_of_models(results, direct)),
    }
    print("\n| way of timing | half-width, median ± | largest ± | pairs that agree | pairs |\n|---|--:|--:|--:|--:|")
    for name, (ratios, pairs) in table.items():
        widths = [100 * math.expm1(ratio.half_width) for ratio in ratios]
        agreed = [agree(pair) for pair in pairs]
        cells = (
            f"{np.median(widths):.1f} % | {max(widths):.1f} % | {percent(agreed)} | {len(agreed)}" if widths else "||"
        )
        print(f"| {name} | {cells} |")
    spread = 100 * np.std(records[:, 1], ddof=1)
    print(
        f"\nThe teacher ÷ the timing reference: {len(records)} measurements in {np.ptp(records[:, 0]) / 60:.1f} minutes,"
        f" standard deviation {spread:.1f} %, pooled {final.value:.2f} ± {100 * math.expm1(final.half_width):.1f} %."
    )


def describe(ratios: Sequence[Ratio]) -> str:
    """Describe repeated measurements of a model: the median speed-up with its spread, and the stated half-width."""
    logs = [ratio.log for ratio in ratios]
    spread = f" (s.d. {100 * np.std(logs, ddof=1):.1f} %)" if len(logs) > 1 else ""
    return f"{math.exp(np.median(logs)):.2f}×{spread} | {100 * np.median([ratio.half_width for ratio in ratios]):.1f} %"


def pool_until(records: np.ndarray, calm_reference_ms: float | None, moment: float) -> Ratio:
    """Return the pooled ratio of the teacher's measurements until a moment."""
    return pool_calm(records[records[:, 0] <= moment], calm_reference_ms)


def pairs_of_models(results: Sequence[Measured], ratios: Sequence[Ratio]) -> list[Pair]:
    """Return the ratios of all pairs of results that measured the same model in different processes."""
    return [
        (a, b)
        for (first, a), (second, b) in itertools.combinations(zip(results, ratios, strict=True), 2)
        if first.trial == second.trial
    ]


def pairs_of_halves(results: Sequence[Measured], records: np.ndarray, calm_reference_ms: float | None) -> list[Pair]:
    """Return pairs of measurements of the same model, one of each half of the time, composed with that half's teacher."""
    middle = float(np.median([result.time for result in results]))
    parts = [records[records[:, 0] < middle], records[records[:, 0] >= middle]]
    if not all(map(len, parts)):
        return []
    before, after = (pool_calm(part, calm_reference_ms) for part in parts)
    return [
        (first.candidate.times(before), second.candidate.times(after))
        for first, second in itertools.product(results, repeat=2)
        if first.trial == second.trial and first.time < middle <= second.time
    ]


def agree(pair: Pair) -> bool:
    """Return whether two ratios differ by no more than the interval of their difference."""
    first, second = pair
    return abs(first.log - second.log) <= math.hypot(first.half_width, second.half_width)


def percent(agreed: Sequence[bool]) -> str:
    """Return the share of pairs that agree."""
    return f"{100 * np.mean(agreed):.1f} %" if agreed else "–"


@contextmanager
def background_load() -> Iterator[None]:
    """Run another process that computes on one core for half of the time."""
    process = multiprocessing.Process(target=_compute, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()


def _compute() -> None:
    chance = random.Random(0)
    while True:
        end = time.monotonic() + chance.uniform(0, 2 * LOAD_SECONDS)
        while time.monotonic() < end:
            math.sqrt(2.0)
        time.sleep(chance.uniform(0, 2 * LOAD_SECONDS))


if __name__ == "__main__":
    main()
