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

from autocompress.core.agreement import Agreement
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow

Floats = NDArray[np.float64]

Prior = tuple[tuple[float, float], tuple[float, float]]  # means and standard deviations of the prior of level and slope
ALONG_DISAGREEMENT: Prior = (
    (0.3, 1.6),
    (0.25, 0.5),
)  # wide: 0.1 was seen on sst2, 0.4 to 0.5 on banking77, 0.4 to 0.7 on trec
ALONG_DEPTH: Prior = ((0.3, 0.6), (0.2, 0.3))  # 0.2, 1.0 fit sst2; 0.4, 1.1 banking77
MIDDLE = 0.25  # of √a
MIDDLE_DEPTH = 0.5
CANDIDATE_SPREADS = (
    0.02,
    0.05,
    0.1,
    0.2,
    0.4,
)  # τ: deviations of candidates from the common curve; weighed by likelihood
OVERLAP = 0.5  # of the rows on which the milder of two candidates disagrees, the part on which both do
USUAL_DISAGREEMENT = 0.06  # of a candidate worth choosing, on sst2
USUAL_DEPTH, USUAL_CANDIDATES = 0.5, 20
MOST_DISAGREEMENT = 0.3  # beyond it a candidate is broken: its drop is certain, and would bend the curve
UNLIKE = 0.1  # standard deviation of the ratio of disagreements on agreement rows and on validation rows
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
    of a teacher share: flips near the decision boundary cost nothing, deep ones cost all. So, with m = c/a − 0.5, where c is
    the drop that the teacher's calibrated probabilities let expect (`TrialRow.confidence_drop`; in old studies, where it is
    unknown, m = √a − 0.25),

        b_i = β₀ + β₁·m_i + u_i,   u_i ~ N(0, τ²),   d_i/a_i = b_i + e_i,   e_i ~ N(0, v_i²),   v_i = s_i/a_i,

    d_i the soft drop where it is known (`TrialRow.soft_drop`: lower variance), else the drop, s_i its standard deviation
    (from its interval, else √(a/examples)), β normal around the priors below, and

        corr(e_i, e_j) = 0.5·√(min(a_i, a_j)/max(a_i, a_j)),

    because candidates disagree with the teacher on much the same rows, so that their errors are correlated; without this
    the pooled curve takes the common error for truth. The estimate is a_i·E[b_i | all d] (linear-Gaussian, τ weighed by
    its likelihood over a grid). The prior along √a was fitted to candidates on three data sets (studies/LOG.md), the 0.5 to
    three synthetic data sets. For metrics of another scale than accuracy, b is in units of s_i/√(a/examples).

    Agreement rows tell a from more rows, assumed to be like those of validation within 10 % (standard deviation; what
    differs by more than two standard errors counts as an error of theirs, too). Where they have labels, each compared
    candidate's drop on them is a second observation of its b, with errors of its own.

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
    models = [min(group, key=lambda row: row.agreement is None) for group in groups.values()]
    for group, expected in zip(groups.values(), _estimate(models, examples), strict=True):
        estimates.update({row.trial: expected for row in group})
    return estimates


def choice_precision(examples: int, agreement_rows: int = 0, has_labels: bool = False) -> float:
    """Return the half-width of the 95 % interval of the drop of a usual candidate that is measured on so many rows.

    With agreement rows, that of its expected drop, in a study of candidates like it.
    """
    if not agreement_rows:
        return 1.96 * sqrt(USUAL_DISAGREEMENT / max(1, examples))
    drop, deviation = USUAL_DEPTH * USUAL_DISAGREEMENT, sqrt(USUAL_DISAGREEMENT / agreement_rows)
    agreement = Agreement(rows=agreement_rows, disagreement=USUAL_DISAGREEMENT, confidence_drop=drop)
    if has_labels:
        agreement = replace(agreement, drop=drop, drop_deviation=deviation)
    row = TrialRow(
        trial=1, state="complete", reason=None, recipe=Recipe(), drop=drop, disagreement=USUAL_DISAGREEMENT,
        confidence_drop=drop, agreement=agreement,
    )  # fmt: skip
    rows = [replace(row, trial=trial) for trial in range(1, USUAL_CANDIDATES + 1)]
    return 1.96 * expected_drop(rows, examples)[1].spread


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


@dataclass(frozen=True)
class _Observed:
    """Drops of some models on the same labelled rows, each (observations,)."""

    models: NDArray[np.int64]  # their numbers
    losses: Floats  # drop ÷ disagreement
    deviations: Floats  # of the losses
    disagreements: Floats

    def noise(self) -> Floats:
        """Return the covariance of the errors (observations, observations)."""
        smaller, larger = (pairs.outer(self.disagreements, self.disagreements) for pairs in (np.minimum, np.maximum))
        correlation = OVERLAP * np.sqrt(smaller / larger)
        np.fill_diagonal(correlation, 1.0)
        return np.asarray(correlation * np.outer(self.deviations, self.deviations))


def _estimate(models: Sequence[TrialRow], examples: int | None) -> list[ExpectedDrop]:
    """Estimate the drops of models that all have a sampling deviation; see `expected_drop`."""
    if not models:
        return []
    drops = np.array([_measured_drop(row)[0] for row in models], np.float64)
    deviations = np.array([_sampling_deviation(row, examples) for row in models], np.float64)
    disagreements = np.maximum([row.disagreement or 0.0 for row in models], 1 / (examples or 1000))
    unit = max(1.0, float(np.median(deviations / np.sqrt(disagreements / examples)))) if examples else 1.0
    scale = disagreements * unit
    observed = [_Observed(np.arange(len(models)), drops / scale, deviations / scale, disagreements)]
    observed += _labelled_agreement(models, unit)
    places, prior = _places(models, disagreements)
    mean, spread = _posterior(places, prior, observed)
    levels, variances = _levels(models, disagreements, examples)
    spreads = unit * np.sqrt(np.square(levels * spread) + variances * np.square(mean))
    return [
        ExpectedDrop(drop=float(drop), spread=float(width))
        for drop, width in zip(unit * levels * mean, spreads, strict=True)
    ]


def _places(models: Sequence[TrialRow], disagreements: Floats) -> tuple[Floats, Prior]:
    """Return where each model lies along the curve (models,), 0 in its middle, and the curve's prior."""
    if any(row.confidence_drop is None for row in models):
        return np.sqrt(disagreements) - MIDDLE, ALONG_DISAGREEMENT
    depths = np.array([row.confidence_drop for row in models], np.float64) / disagreements
    for number, row in enumerate(models):
        if row.agreement is not None and row.agreement.disagreement > 0:
            depths[number] = row.agreement.confidence_drop / row.agreement.disagreement
    return depths - MIDDLE_DEPTH, ALONG_DEPTH


def _labelled_agreement(models: Sequence[TrialRow], unit: float) -> list[_Observed]:
    """Return what the labels of agreement rows tell of the models that were compared on them."""
    known = [
        (number, row.agreement.drop, row.agreement.drop_deviation or 0.0, row.agreement)
        for number, row in enumerate(models)
        if row.agreement is not None and row.agreement.drop is not None
    ]
    if not known:
        return []
    disagreements = np.array([max(agreement.disagreement, 1 / agreement.rows) for *_, agreement in known])
    least = np.array([0.5 / agreement.rows for *_, agreement in known])
    drops, deviations = (np.array([entry[place] for entry in known], np.float64) for place in (1, 2))
    scale = disagreements * unit
    numbers = np.array([number for number, *_ in known], np.int64)
    return [_Observed(numbers, drops / scale, np.maximum(deviations, least) / scale, disagreements)]


def _levels(models: Sequence[TrialRow], disagreements: Floats, examples: int | None) -> tuple[Floats, Floats]:
    """Return the disagreement of each model to expect on other rows (models,), and its variance.

    Without agreement rows it is that of validation, and counts as known, as in studies of before they existed.
    """
    levels, variances = disagreements.copy(), np.zeros(len(models))
    for number, row in enumerate(models):
        if row.agreement is None or not examples:
            continue
        rate, other = float(disagreements[number]), row.agreement.disagreement
        own = rate / examples
        others = max(other, 1 / row.agreement.rows) / row.agreement.rows + (UNLIKE * rate) ** 2
        others += max(0.0, (other - rate) ** 2 - 4 * (own + others))  # what differs significantly is of another kind
        levels[number] = (rate / own + other / others) / (1 / own + 1 / others)
        variances[number] = 1 / (1 / own + 1 / others)
    return levels, variances


def _posterior(places: Floats, prior: Prior, observed: Sequence[_Observed]) -> tuple[Floats, Floats]:
    """Return mean and standard deviation (models,) of each b given all observed losses."""
    basis = np.stack([np.ones_like(places), places], axis=1)  # (models, 2)
    centre = basis @ np.array(prior[0])
    curve = basis @ np.diag(np.square(prior[1])) @ basis.T
    numbers = np.concatenate([part.models for part in observed])  # of the model of each observation
    losses = np.concatenate([part.losses for part in observed])
    noise = np.zeros((len(numbers), len(numbers)))
    start = 0
    for part in observed:
        end = start + len(part.models)
        noise[start:end, start:end] = part.noise()
        start = end
    means, variances, evidence = [], [], []
    for deviation in CANDIDATE_SPREADS:
        truth = curve + deviation**2 * np.eye(len(places))
        root = np.linalg.cholesky(truth[np.ix_(numbers, numbers)] + noise)
        surprise = np.linalg.solve(root, losses - centre[numbers])
        gain = np.linalg.solve(root, truth[numbers])  # (observations, models)
        means.append(centre + gain.T @ surprise)
        variances.append(np.diag(truth) - np.square(gain).sum(axis=0))
        evidence.append(-0.5 * surprise @ surprise - np.log(np.diag(root)).sum())
    weights = np.exp(np.array(evidence) - max(evidence))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    variance = weights @ (np.array(variances) + np.square(means)) - np.square(mean)
    return mean, np.sqrt(np.maximum(variance, 0.0))
