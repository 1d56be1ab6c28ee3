"""The drop to expect on other rows than the few hundred that were measured.

The fastest of 30 candidates whose drop on 872 rows (paired s.d. 0.8 points) is at most one point is often only the luckiest:
in at least every fourth simulated study its true drop exceeds one point. The estimate below, taken with odds of two to one,
is wrong about half as often and picks slower models; tests/test_drop_estimate.py holds both amounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from autocompress.core.trial_row import TrialRow

Floats = NDArray[np.float64]

PRIOR_MEAN = (0.3, 1.6)  # net loss per disagreement where √a = 0.25, and its slope along √a: see `expected_drop`
PRIOR_SPREAD = (0.25, 0.5)  # wide: about 0.1 was seen on sst2, 0.4 to 0.5 on banking77, 0.4 to 0.7 on trec
MIDDLE = 0.25
CANDIDATE_SPREADS = (
    0.02,
    0.05,
    0.1,
    0.2,
    0.4,
)  # τ: deviations of candidates from the common curve; weighed by likelihood
OVERLAP = 0.5  # of the rows on which the milder of two candidates disagrees, the part on which both do
USUAL_DISAGREEMENT = 0.06  # of a candidate worth choosing, on sst2
MOST_DISAGREEMENT = 0.3  # beyond it a candidate is broken: its drop is certain, and would bend the curve
TWO_TO_ONE = 0.43  # standard deviations: the normal distribution has two thirds of its mass below


@dataclass(frozen=True, kw_only=True)
class ExpectedDrop:
    """The drop to expect on other rows (a fraction; positive is worse) and its standard deviation."""

    drop: float
    spread: float

    @property
    def cautious(self) -> float:
        """Return the drop that is not exceeded with odds of two to one."""
        return self.drop + TWO_TO_ONE * self.spread


def expected_drop(rows: Sequence[TrialRow], examples: int | None = None) -> dict[int, ExpectedDrop]:
    """Estimate the drop on other rows for every complete trial with a drop; `examples` is the number of measured rows.

    A candidate disagrees with the teacher on a fraction a of the rows, and there loses, net, b of a row: d = a·b. The
    fraction a is known well, b hardly (872 rows and a = 0.06 leave ± 0.14), but b follows a curve that all candidates
    of a teacher share: flips near the decision boundary cost nothing, deep ones cost all. So, with m = √a − 0.25,

        b_i = β₀ + β₁·m_i + u_i,   u_i ~ N(0, τ²),   d_i/a_i = b_i + e_i,   e_i ~ N(0, v_i²),   v_i = s_i/a_i,

    d_i the soft drop where it is known (`TrialRow.soft_drop`: lower variance), else the drop, s_i its standard deviation
    (from its interval, else √(a/examples)), β ~ N((0.3, 1.6), diag(0.25, 0.5)²), and

        corr(e_i, e_j) = 0.5·√(min(a_i, a_j)/max(a_i, a_j)),

    because candidates disagree with the teacher on much the same rows, so that their errors are correlated; without this
    the pooled curve takes the common error for truth. The estimate is a_i·E[b_i | all d] (linear-Gaussian, τ weighed by
    its likelihood over a grid). The prior was fitted to candidates on three data sets (studies/LOG.md), the 0.5 to
    three synthetic data sets. For metrics of another scale than accuracy, b is in units of
    s_i/√(a/examples).

    Where disagreement, or both interval and `examples`, are missing, and beyond 30 % disagreement, which is usual where
    predictions are numbers, the estimate is the measured drop, with the spread of its interval, else 0. Trials with the
    same sha256 count once. After Efron and Morris, "Data analysis using Stein's estimator and its generalizations" (1975).
    """
    complete = [row for row in rows if row.state == "complete" and row.trial != 0]
    estimates = {
        row.trial: ExpectedDrop(drop=row.drop, spread=_interval_deviation(row.drop_interval) or 0.0)
        for row in complete
        if row.drop is not None
    }
    groups: dict[str, list[TrialRow]] = {}
    for row in rows:
        if row.trial in estimates and _sampling_deviation(row, examples) is not None:
            groups.setdefault(row.sha256 or f"trial {row.trial}", []).append(row)
    representatives = [group[0] for group in groups.values()]
    for group, expected in zip(groups.values(), _shrink(representatives, examples), strict=True):
        estimates.update({row.trial: expected for row in group})
    return estimates


def choice_precision(examples: int) -> float:
    """Return the half-width of the 95 % interval of a drop measured on so many rows, for a usual candidate."""
    return 1.96 * sqrt(USUAL_DISAGREEMENT / max(1, examples))


def as_expected(row: TrialRow, drop: float) -> TrialRow:
    """Return the row with the drop to expect on other rows, and the quality that follows from it."""
    return replace(row, drop=drop, quality=(row.quality or 0.0) + (row.drop or 0.0) - drop)


def noise_correlation(a: float, b: float) -> float:
    """Return the correlation of the sampling errors of two candidates, from their disagreements with the teacher."""
    return OVERLAP * sqrt(min(a, b) / max(a, b)) if a > 0 and b > 0 else 0.0


def _sampling_deviation(row: TrialRow, examples: int | None) -> float | None:
    """Return the standard deviation of a row's drop; null where it is unknown or the candidate is broken."""
    if row.disagreement is None or row.disagreement > MOST_DISAGREEMENT or row.drop is None:
        return None
    least = 0.5 / examples if examples else 1e-4
    deviation = _interval_deviation(_measured_drop(row)[1])
    if deviation is not None:
        return max(deviation, least)
    return max(sqrt(row.disagreement / examples), least) if examples else None


def _interval_deviation(interval: tuple[float, float] | None) -> float | None:
    """Return the standard deviation of a drop with this interval of 95 %; null where it is unknown or has no width."""
    if interval is None or interval[1] <= interval[0]:
        return None
    return (interval[1] - interval[0]) / 3.92  # 95 % are ± 1.96 s.d.


def _measured_drop(row: TrialRow) -> tuple[float, tuple[float, float] | None]:
    """Return the soft drop, which has the lower variance, where it is known, else the drop; with its interval."""
    if row.soft_drop is not None:
        return row.soft_drop, row.soft_drop_interval
    return row.drop or 0.0, row.drop_interval


def _shrink(rows: Sequence[TrialRow], examples: int | None) -> list[ExpectedDrop]:
    """Estimate the drops of rows that all have a sampling deviation; see `expected_drop`."""
    if not rows:
        return []
    drops = np.array([_measured_drop(row)[0] for row in rows], dtype=np.float64)
    deviations = np.array([_sampling_deviation(row, examples) for row in rows], dtype=np.float64)
    disagreements = np.maximum([row.disagreement or 0.0 for row in rows], 1 / (examples or 1000))
    unit = max(1.0, float(np.median(deviations / np.sqrt(disagreements / examples)))) if examples else 1.0
    scale = disagreements * unit
    mean, spread = _posterior(drops / scale, deviations / scale, disagreements)
    return [
        ExpectedDrop(drop=float(drop), spread=float(width))
        for drop, width in zip(scale * mean, scale * spread, strict=True)
    ]


def _posterior(losses: Floats, deviations: Floats, disagreements: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each b given all observed ones; all (trials,)."""
    basis = np.stack([np.ones_like(disagreements), np.sqrt(disagreements) - MIDDLE], axis=1)  # (trials, 2)
    centre = basis @ np.array(PRIOR_MEAN)
    curve = basis @ np.diag(np.square(PRIOR_SPREAD)) @ basis.T
    smaller, larger = np.minimum.outer(disagreements, disagreements), np.maximum.outer(disagreements, disagreements)
    correlation = OVERLAP * np.sqrt(smaller / larger)
    np.fill_diagonal(correlation, 1.0)
    noise = correlation * np.outer(deviations, deviations)
    means, variances, evidence = [], [], []
    for deviation in CANDIDATE_SPREADS:
        truth = curve + deviation**2 * np.eye(len(disagreements))
        root = np.linalg.cholesky(truth + noise)
        surprise = np.linalg.solve(root, losses - centre)
        gain = np.linalg.solve(root, truth)  # (trials, trials)
        means.append(centre + gain.T @ surprise)
        variances.append(np.diag(truth) - np.square(gain).sum(axis=0))
        evidence.append(-0.5 * surprise @ surprise - np.log(np.diag(root)).sum())
    weights = np.exp(np.array(evidence) - max(evidence))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    variance = weights @ (np.array(variances) + np.square(means)) - np.square(mean)
    return mean, np.sqrt(np.maximum(variance, 0.0))
