"""Two trials beside each other: what surely differs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import comb, exp, hypot, log
from typing import Any

from autocompress.core.trial_row import TrialRow


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the second trial is, beside the first. Intervals are of 95 %."""

    study_a: str
    study_b: str
    a: TrialRow
    b: TrialRow
    metric: str
    examples: int  # rows of the test split
    quality_a: float
    quality_b: float
    drop: float  # of the second against the first, on the same rows; positive: it is worse
    drop_interval: tuple[float, float]
    only_a_right: int  # rows
    only_b_right: int
    p_value: float  # of as uneven a split of those by chance (McNemar's exact test)
    disagreement: float  # fraction of the rows with different predictions
    faster: float | None  # times as fast as the first, by their speed-ups; null where the teachers differ
    faster_interval: tuple[float, float] | None
    smaller: float  # times

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "a": self.a.as_json(), "b": self.b.as_json()}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was compared."""

    what: str
    before: str
    now: str
    agrees: bool  # equal; of what is measured: not surely another


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p-value of so uneven a split, were either equally likely for each row (exact, binomial)."""
    rows, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(comb(rows, count) for count in range(fewer + 1))
    return min(1.0, float(2 * tail / (1 << rows)))


def ratio_interval(
    one: float, interval: tuple[float, float], other: float, others_interval: tuple[float, float]
) -> tuple[float, float]:
    """95 % interval of another factor ÷ one, out of those of both."""
    half = hypot(*(log(high / low) / 2 for low, high in (interval, others_interval)))
    return other / one * exp(-half), other / one * exp(half)
