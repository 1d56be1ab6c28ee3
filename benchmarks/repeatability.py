"""Do measurements agree with each other as well as they say? `python -m benchmarks.repeatability STUDY.yaml [--times 10]`.

Ten models of a study's front, from the slowest to the fastest, are measured again and again, each time in a fresh process, in
an order of its own, while another process computes on one core for half of the time. A pair of measurements of one model
agrees where the interval of the ratio of their speed-ups, made of both stated ones, holds 1. Of the relations "this is
faster than that" that one round calls significant (the interval of their ratio lies beyond 1) those are counted that the next
round shows, too.
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
LOAD_SECONDS = 2.0  # mean length of the times with and without a load


@dataclass(frozen=True)
class Ratio:
    """A speed-up on a logarithmic scale, and half of its stated 95 % interval."""

    log: float
    half: float

    def minus(self, other: Ratio) -> Ratio:
        """How much one is faster than another."""
        return Ratio(self.log - other.log, math.hypot(self.half, other.half))

    @property
    def significant(self) -> bool:
        """Whether it is surely not 1."""
        return abs(self.log) > self.half


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "REFERENCE"), help="used by the program itself")
    arguments = parser.parse_args()
    located = locate(arguments.study, None)
    view = located.view()
    device = Device.model_validate(view.plan["device"])
    if arguments.one:
        one(located.store(view), *arguments.one, device)
        return
    rows = sorted(view.front, key=lambda row: row.latency_ms or 0.0)
    chosen = [rows[round(place * (len(rows) - 1) / (MODELS - 1))] for place in range(MODELS)]
    assert view.teacher is not None and view.teacher.sha256 is not None
    reference, models = view.teacher.sha256, {row.trial: row.sha256 for row in chosen if row.sha256}
    rounds: list[dict[int, Ratio]] = []
    with load():
        for number in range(arguments.times):
            order = random.Random(number).sample(sorted(models), len(models))
            rounds.append({trial: measured(arguments.study, models[trial], reference) for trial in order})
            agreed = [one for trial in models for one in agreements(rounds, trial)]
            so_far = f": {100 * np.mean(agreed):.1f} % of {len(agreed)} pairs agree" if agreed else ""
            print(f"round {number + 1} of {arguments.times}{so_far}", file=sys.stderr, flush=True)
    tell(rounds)


def agreements(rounds: list[dict[int, Ratio]], trial: int) -> list[bool]:
    """Of each pair of measurements of a model, whether they agree."""
    return [not one[trial].minus(other[trial]).significant for one, other in itertools.combinations(rounds, 2)]


def tell(rounds: list[dict[int, Ratio]]) -> None:
    """The tables."""
    print(
        "\n| trial | speed-up, median | stated ± | spread over rounds, 95 % ± | pairs that agree |\n|--:|--:|--:|--:|--:|"
    )
    agreed: list[bool] = []
    for trial in rounds[0]:
        found = [one[trial] for one in rounds]
        pairs = agreements(rounds, trial)
        agreed += pairs
        median, stated = math.exp(np.median([one.log for one in found])), np.median([one.half for one in found])
        spread = 1.96 * float(np.std([one.log for one in found], ddof=1))
        print(
            f"| {trial} | {median:.2f}× | {100 * stated:.1f} % | {100 * spread:.1f} % | {100 * np.mean(pairs):.0f} % |"
        )
    kept = []
    for before, after in itertools.pairwise(rounds):
        for mine, other in itertools.combinations(before, 2):
            told, seen = before[mine].minus(before[other]), after[mine].minus(after[other])
            if told.significant:
                kept.append(told.log * seen.log > 0)
    print(f"\nPairs of one model that agree: {100 * np.mean(agreed):.1f} % of {len(agreed)}.")
    print(f"Relations called significant that the next round shows: {100 * np.mean(kept):.1f} % of {len(kept)}.")


def measured(study: str, model: str, reference: str) -> Ratio:
    """One measurement, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.repeatability", study, "--one", model, reference]
    low, high = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Ratio((math.log(low) + math.log(high)) / 2, (math.log(high) - math.log(low)) / 2)


def one(store: Store, sha256: str, reference: str, device: Device) -> None:
    """Measure one model as a search would, and print the ends of its interval."""
    model = store.artifact(sha256)
    vocabulary = int(json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"])
    feeds = benchmarking.latency_feeds(vocabulary, device.batch, device.tokens, (), 0)
    target = open_backend(device, "device")
    latency = target.time(model, store.artifact(reference), feeds, benchmarking.THOROUGH_TIMING, False).latency
    spread = drift_on(store, reference, target).note(latency.reference_p50_ms)
    interval = benchmarking.with_drift(latency, spread).speedup_interval
    print(json.dumps([interval.low, interval.high]))


@contextmanager
def load() -> Iterator[None]:
    """Another process that computes on a core for half of the time."""
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
