"""What a drop measured on a few hundred rows promises for other rows.

The fastest of 30 candidates whose drop on 872 rows (paired s.d. 0.8 points) is at most one point is too often just the
luckiest: in simulated studies its true drop is over the point in every fourth or more. The estimate below, taken with odds of
two to one, is wrong about half as often, and costs speed; tests/test_front.py holds how much of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from autocompress.core.trial_row import TrialRow

Floats = NDArray[np.float64]

PRIOR_MEAN = (0.3, 1.6)  # net loss per disagreement where √a = 0.25, and its slope along √a: see `expected_drop`
PRIOR_SPREAD = (0.25, 0.5)  # wide: about 0.1 was seen on sst2, 0.4 to 0.5 on banking77, 0.4 to 0.7 on trec
MIDDLE = 0.25
OWN_SPREADS = (0.02, 0.05, 0.1, 0.2, 0.4)  # τ: candidates' own deviations from the common curve; weighed by likelihood
OVERLAP = 0.5  # of the rows on which the milder of two candidates disagrees, the part on which the other does too
MOST_DISAGREEMENT = 0.3  # beyond it a candidate is broken: its drop is plain, and would only bend the curve
TWO_TO_ONE = 0.43  # standard deviations: the normal distribution has two thirds of its mass below


@dataclass(frozen=True, kw_only=True)
class ExpectedDrop:
    """The drop to expect on other rows (a fraction; positive is worse) and its standard deviation."""

    drop: float
    spread: float

    @property
    def cautious(self) -> float:
        """The drop that is not exceeded with odds of two to one."""
        return self.drop + TWO_TO_ONE * self.spread


def expected_drop(rows: Sequence[TrialRow], examples: int | None = None) -> dict[int, ExpectedDrop]:
    """For every complete trial with a drop, the drop to expect on other rows; `examples` is how many were measured.

    A candidate disagrees with the teacher on a fraction a of the rows, and there loses, net, b of a row: d = a·b. The
    fraction a is known well, b hardly (872 rows and a = 0.06 leave ± 0.14), but b follows a curve that all candidates
    of a teacher share: flips near the decision boundary cost nothing, deep ones cost all. So, with m = √a − 0.25,

        b_i = β₀ + β₁·m_i + u_i,   u_i ~ N(0, τ²),   d_i/a_i = b_i + e_i,   e_i ~ N(0, v_i²),   v_i = s_i/a_i,

    d_i the soft drop where it is known (`Result.soft_drop`: less luck), else the drop, s_i its standard deviation
    (from its interval, else √(a/examples)), β ~ N((0.3, 1.6), diag(0.25, 0.5)²), and

        corr(e_i, e_j) = 0.5·√(min(a_i, a_j)/max(a_i, a_j)),

    because candidates disagree with the teacher on much the same rows, and so are lucky together; without this the
    pooled curve takes their common luck for truth. The estimate is a_i·E[b_i | all d] (linear-Gaussian, τ weighed by
    its likelihood over a grid). The prior is what candidates on three data sets showed (studies/LOG.md), the 0.5 comes from
    three synthetic worlds. For metrics of another scale than accuracy, b is taken in units of
    s_i/√(a/examples).

    Where disagreement, or both interval and `examples`, are missing, and beyond 30 % disagreement, the drop stands as
    it was measured, with no spread. Trials with the same sha256 count once. After Efron and Morris, "Data analysis
    using Stein's estimator and its generalizations" (1975).
    """
    known = {row.trial: row.drop for row in rows if row.state == "complete" and row.trial != 0 and row.drop is not None}
    result = {trial: ExpectedDrop(drop=drop, spread=0.0) for trial, drop in known.items()}
    groups: dict[str, list[TrialRow]] = {}
    for row in rows:
        if row.trial in known and _sampling(row, examples) is not None:
            groups.setdefault(row.sha256 or f"trial {row.trial}", []).append(row)
    heads = [group[0] for group in groups.values()]
    for group, expected in zip(groups.values(), _shrunk(heads, examples), strict=True):
        result.update({row.trial: expected for row in group})
    return result


def overlap(one: float, other: float) -> float:
    """The correlation of two candidates' luck, by the parts of the rows on which they disagree with the teacher."""
    return OVERLAP * sqrt(min(one, other) / max(one, other)) if one > 0 and other > 0 else 0.0


def _sampling(row: TrialRow, examples: int | None) -> float | None:
    """Standard deviation of a row's drop; null where it cannot be told or is not wanted."""
    if row.disagreement is None or row.disagreement > MOST_DISAGREEMENT or row.drop is None:
        return None
    least = 0.5 / examples if examples else 1e-4
    _, interval = _seen(row)
    if interval is not None and interval[1] > interval[0]:
        return max((interval[1] - interval[0]) / 3.92, least)  # 95 % are ± 1.96 s.d.
    return max(sqrt(row.disagreement / examples), least) if examples else None


def _seen(row: TrialRow) -> tuple[float, tuple[float, float] | None]:
    """The drop that was measured, by the measure that has less luck in it, and its interval."""
    if row.soft_drop is not None:
        return row.soft_drop, row.soft_drop_interval
    return row.drop or 0.0, row.drop_interval


def _shrunk(rows: Sequence[TrialRow], examples: int | None) -> list[ExpectedDrop]:
    """The estimates of rows that all have a sampling deviation; see `expected_drop`."""
    if not rows:
        return []
    drops = np.array([_seen(row)[0] for row in rows], dtype=np.float64)
    deviations = np.array([_sampling(row, examples) for row in rows], dtype=np.float64)
    parts = np.maximum([row.disagreement or 0.0 for row in rows], 1 / (examples or 1000))
    unit = max(1.0, float(np.median(deviations / np.sqrt(parts / examples)))) if examples else 1.0
    mean, spread = _posterior(drops / (parts * unit), deviations / (parts * unit), parts)
    return [
        ExpectedDrop(drop=float(drop), spread=float(width))
        for drop, width in zip(parts * unit * mean, parts * unit * spread, strict=True)
    ]


def _posterior(losses: Floats, deviations: Floats, parts: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each b given all observed ones; all (trials,)."""
    basis = np.stack([np.ones_like(parts), np.sqrt(parts) - MIDDLE], axis=1)  # (trials, 2)
    centre = basis @ np.array(PRIOR_MEAN)
    curve = basis @ np.diag(np.square(PRIOR_SPREAD)) @ basis.T
    alike = OVERLAP * np.sqrt(np.minimum.outer(parts, parts) / np.maximum.outer(parts, parts))
    np.fill_diagonal(alike, 1.0)
    noise = alike * np.outer(deviations, deviations)
    means, variances, evidence = [], [], []
    for own in OWN_SPREADS:
        truth = curve + own**2 * np.eye(len(parts))
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
