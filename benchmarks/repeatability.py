"""Check whether repeated measurements agree: `python -m benchmarks.repeatability STUDY.yaml [--times 10]`.

Ten models of a study's front, from the slowest to the fastest, are measured in each round, each in a fresh process and in a
random order, while another process computes on one core for half of the time. Two measurements of one model agree if the
interval of the ratio of their speed-ups, computed from both stated intervals, contains 1. A relation "A is faster than B" is
significant if the interval of their ratio does not contain 1; the benchmark counts the significant relations that the next
round confirms.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from autocompress import benchmarking
from autocompress.actions.locate import locate
from autocompress.benchmarking.backends import drift_on, open_backend
from autocompress.config import Device
from autocompress.storage.artifact_store import Store

MODELS = 10
LOAD_SECONDS = 2.0  # mean length of the phases with and without load


@dataclass(frozen=True)
class Ratio:
    """A speed-up on a logarithmic scale, with the half-width of its stated 95 % interval."""

    log: float
    half: float

    def minus(self, other: Ratio) -> Ratio:
        """Return the ratio of two speed-ups."""
        return Ratio(self.log - other.log, math.hypot(self.half, other.half))

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 1."""
        return abs(self.log) > self.half


def main() -> None:
    """Measure all rounds, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "REFERENCE"), help="measure one model (for internal use)")
    arguments = parser.parse_args()
    located = locate(arguments.study, None)
    view = located.view()
    device = Device.model_validate(view.plan["device"])
    if arguments.one:
        print_interval(located.store(view), *arguments.one, device)
        return
    rows = sorted(view.front, key=lambda row: row.latency_ms or 0.0)
    chosen = [rows[round(index * (len(rows) - 1) / (MODELS - 1))] for index in range(MODELS)]
    assert view.teacher is not None and view.teacher.sha256 is not None
    reference, models = view.teacher.sha256, {row.trial: row.sha256 for row in chosen if row.sha256}
    rounds: list[dict[int, Ratio]] = []
    with background_load():
        for number in range(arguments.times):
            order = random.Random(number).sample(sorted(models), len(models))
            rounds.append({trial: measure(arguments.study, models[trial], reference) for trial in order})
            agreed = [agrees for trial in models for agrees in agreements(rounds, trial)]
            progress = f": {100 * np.mean(agreed):.1f} % of {len(agreed)} pairs agree" if agreed else ""
            print(f"round {number + 1} of {arguments.times}{progress}", file=sys.stderr, flush=True)
    print_tables(rounds)


def agreements(rounds: list[dict[int, Ratio]], trial: int) -> list[bool]:
    """Return for each pair of measurements of a model whether they agree."""
    return [not first[trial].minus(second[trial]).is_significant for first, second in itertools.combinations(rounds, 2)]


def print_tables(rounds: list[dict[int, Ratio]]) -> None:
    """Print the table of the models, and the summary."""
    print(
        "\n| trial | speed-up, median | stated ± | spread over rounds, 95 % ± | pairs that agree |\n|--:|--:|--:|--:|--:|"
    )
    agreed: list[bool] = []
    for trial in rounds[0]:
        ratios = [measurements[trial] for measurements in rounds]
        pairs = agreements(rounds, trial)
        agreed += pairs
        median, stated = (
            math.exp(np.median([ratio.log for ratio in ratios])),
            np.median([ratio.half for ratio in ratios]),
        )
        spread = 1.96 * float(np.std([ratio.log for ratio in ratios], ddof=1))
        print(
            f"| {trial} | {median:.2f}× | {100 * stated:.1f} % | {100 * spread:.1f} % | {100 * np.mean(pairs):.0f} % |"
        )
    confirmed = []
    for before, after in itertools.pairwise(rounds):
        for first, second in itertools.combinations(before, 2):
            relation, repeated = before[first].minus(before[second]), after[first].minus(after[second])
            if relation.is_significant:
                confirmed.append(relation.log * repeated.log > 0)
    print(f"\nPairs of measurements of one model that agree: {100 * np.mean(agreed):.1f} % of {len(agreed)}.")
    print(f"Significant relations that the next round confirms: {100 * np.mean(confirmed):.1f} % of {len(confirmed)}.")


def measure(study: str, model: str, reference: str) -> Ratio:
    """Measure one model in a separate process."""
    command = [sys.executable, "-m", "benchmarks.repeatability", study, "--one", model, reference]
    low, high = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Ratio((math.log(low) + math.log(high)) / 2, (math.log(high) - math.log(low)) / 2)


def print_interval(store: Store, sha256: str, reference: str, device: Device) -> None:
    """Measure one model as a search would, and print its interval as JSON."""
    model = store.artifact(sha256)
    vocabulary = int(json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"])
    feeds = benchmarking.latency_feeds(vocabulary, device.batch, device.tokens, (), 0)
    backend = open_backend(device, "device")
    latency = backend.time(model, store.artifact(reference), feeds, benchmarking.THOROUGH_TIMING, False).latency
    spread = drift_on(store, reference, backend).note(latency.reference_p50_ms)
    interval = benchmarking.with_drift(latency, spread).speedup_interval
    print(json.dumps([interval.low, interval.high]))


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
