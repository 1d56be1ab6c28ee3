"""Two trials side by side: which differences are significant."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import comb, exp, hypot, log
from typing import Any

from autocompress.core.trial_row import TrialRow


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The second trial compared with the first. Intervals are of 95 %."""

    study_a: str
    study_b: str
    a: TrialRow
    b: TrialRow
    metric: str
    examples: int  # rows of the test split
    quality_a: float
    quality_b: float
    drop: float  # of the second against the first, on the same rows; positive: the second is worse
    drop_interval: tuple[float, float]
    only_a_right: int | None  # rows; null where the task knows no right and wrong
    only_b_right: int | None
    p_value: float | None  # McNemar's exact test of the two counts above
    disagreement: float  # fraction of the rows with different predictions
    faster: float | None  # ratio of the speed-ups, second ÷ first; null where the teachers differ
    faster_interval: tuple[float, float] | None
    smaller: float  # size of the first ÷ size of the second

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "a": self.a.as_json(), "b": self.b.as_json()}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One property that was compared between two measurements of a model."""

    what: str
    before: str
    now: str
    agrees: bool  # equal; for a measured number: not significantly different


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact (binomial) test, for rows that only one of two models predicts right."""
    rows, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(comb(rows, count) for count in range(fewer + 1))
    return min(1.0, float(2 * tail / (1 << rows)))


def ratio_interval(
    denominator: float,
    denominator_interval: tuple[float, float],
    numerator: float,
    numerator_interval: tuple[float, float],
) -> tuple[float, float]:
    """Return the 95 % interval of `numerator ÷ denominator`, from the 95 % intervals of both (log-normal, independent)."""
    half = hypot(*(log(high / low) / 2 for low, high in (denominator_interval, numerator_interval)))
    return numerator / denominator * exp(-half), numerator / denominator * exp(half)
