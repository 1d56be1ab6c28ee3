"""How much of what a search found does `pick` recommend, and does what it names hold on test?

`python -m benchmarks.choosing run [--only SET …] [--seed N] [--minutes M]` searches each set for 30 minutes, from the file that
`init` writes (sst2 with 8,000 rows of train, its other texts unlabelled; mrpc with its dev set as test), scores every complete
model on test, and appends the search to choosing.json; an interrupted search goes on. `… report` replays `pick` on the records,
without training. Its oracle is the fastest model within one point on one half of test, judged on the other; halves are drawn 20
times, swapped, and averaged. Nothing else may run while searches run, because latencies are compared. Needs the data sets in
AUTOCOMPRESS_DATA.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np

from autocompress.selection import NoneFits, expected_drop, pick
from benchmarks.choosing_records import LEAST_TEST_ROWS, SETS, SearchRecord, append_record, read_records

MAX_DROP = 0.01
HALVINGS = 20
SPEED_BAR, WITHIN_BAR, COVERAGE_BAR = 0.8, 0.8, (0.90, 0.98)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What `pick` names in one search, beside what an oracle would."""

    record: SearchRecord
    trial: int
    speedup: float
    expected: float  # drop
    drop: float  # on test
    error: float  # standard error of the drop
    oracle: float  # speed-up, geometric mean over halves
    oracle_drop: float  # on the halves that the oracle did not see

    @property
    def share(self) -> float:
        """The speed-up as a fraction of the oracle's."""
        return self.speedup / self.oracle

    @property
    def is_counted(self) -> bool:
        """Whether test has enough rows to judge by."""
        return len(self.record.labels) >= LEAST_TEST_ROWS


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    if options.what == "run":
        from benchmarks.choosing_searches import search_set  # here, since it imports torch

        if "AUTOCOMPRESS_DATA" not in os.environ:
            raise SystemExit(f"AUTOCOMPRESS_DATA is not set; set it to the folder that contains {', '.join(SETS)}")
        known = {record.name for record in read_records()}
        for name in options.only:
            if f"{name}-{options.seed}" not in known:
                append_record(search_set(name, options.seed, options.minutes))
    print("\n".join(report(read_records())))


def report(records: Sequence[SearchRecord]) -> Iterator[str]:
    """Yield the lines of the report in Markdown."""
    choices = [choice for record in records if (choice := choose(record)) is not None]
    yield "| search | test rows | pick: trial | speed-up | expected drop | drop on test | oracle | its drop | share |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for choice in choices:
        record = choice.record
        yield (
            f"| {record.name}{'' if choice.is_counted else ' (not counted)'} | {len(record.labels):,} | {choice.trial} |"
            f" {choice.speedup:.1f}× | {100 * choice.expected:.1f} | {100 * choice.drop:.1f} ± {196 * choice.error:.1f} |"
            f" {choice.oracle:.1f}× | {100 * choice.oracle_drop:.1f} | {choice.share:.2f} |"
        )
    missing = [record.name for record in records if record.name not in {choice.record.name for choice in choices}]
    if missing:
        yield f"\n`pick` names nothing, or no model is within a point on test: {', '.join(missing)}."
    counted = [choice for choice in choices if choice.is_counted]
    if counted:
        within = float(np.mean([choice.drop <= MAX_DROP for choice in counted]))
        yield (
            f"\nSpeed-up as a share of the oracle's, geometric mean of {len(counted)} counted searches:"
            f" {exp(np.mean([log(choice.share) for choice in counted])):.2f} (bar: {SPEED_BAR}). Drop on test at most a point:"
            f" {within:.0%} (bar: {WITHIN_BAR:.0%})."
        )
    held = [is_held for record in records for is_held in coverage(record)]
    if held:
        low, high = COVERAGE_BAR
        bar = f"{low:.0%} to {high:.0%}"
        yield f"Intervals of the expected drop that hold the test drop: {np.mean(held):.1%} of {len(held)} (bar: {bar})."


def choose(record: SearchRecord, seed: int = 0) -> Choice | None:
    """Return the choices of `pick` and of the oracle; null where one of them finds no model."""
    picked = pick(record.rows, {"max_drop": MAX_DROP}, "latency_ms", examples=record.examples)
    oracle = judge_oracle(record, seed)
    if isinstance(picked, NoneFits) or oracle is None:
        return None
    losses = record.losses(picked.row.trial)
    return Choice(
        record=record, trial=picked.row.trial, speedup=picked.row.speedup or 1.0, expected=picked.expected.drop,
        drop=float(losses.mean()), error=float(losses.std() / sqrt(len(losses))), oracle=oracle[0], oracle_drop=oracle[1],
    )  # fmt: skip


def judge_oracle(record: SearchRecord, seed: int) -> tuple[float, float] | None:
    """Return the oracle's speed-up (geometric mean) and drop (mean) over halves of test; null where none is within a point."""
    rng, speeds, drops = np.random.default_rng(seed), list[float](), list[float]()
    losses = {row.trial: record.losses(row.trial) for row in record.rows}
    for _ in range(HALVINGS):
        order = rng.permutation(len(record.labels))
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        for seen, unseen in (halves, halves[::-1]):
            within = [row for row in record.rows if losses[row.trial][seen].mean() <= MAX_DROP]
            if not within:
                return None
            fastest = max(within, key=lambda row: row.speedup or 0.0)
            speeds.append(log(fastest.speedup or 1.0))
            drops.append(float(losses[fastest.trial][unseen].mean()))
    return exp(np.mean(speeds)), float(np.mean(drops))


def coverage(record: SearchRecord) -> Iterator[bool]:
    """Yield for each model whether the interval of its expected drop, with the error of the test drop, holds the test drop."""
    for trial, expected in expected_drop(record.rows, record.examples).items():
        losses = record.losses(trial)
        error = sqrt(expected.spread**2 + losses.var() / len(losses))
        yield bool(abs(losses.mean() - expected.drop) <= 1.96 * error)


if __name__ == "__main__":
    main()
