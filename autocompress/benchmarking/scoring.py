"""From logits to quality: the metric of a split, the drop against the reference, and how far that can be trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from autocompress.core.measurement import Interval, Quality

RESAMPLES = 2000
SHARPNESS = 2.0  # of the soft predictions, in calibrated temperatures: see `soft_drop`
DRAWS, DRAWS_A_RESAMPLE = 64, 8
TEMPERATURES = np.geomspace(0.02, 20, 200)  # factors on logits that are tried

Floats = NDArray[np.float64]
Metric = Callable[[np.ndarray, np.ndarray], float]  # predictions (rows,), labels (rows,) -> higher is better


def score(
    split: str, logits: np.ndarray, reference_logits: np.ndarray, labels: np.ndarray, metric: Metric, seed: int
) -> Quality:
    """The metric of a split and its drop against the reference, with a 95 % paired bootstrap interval.

    Paired: candidate and reference are scored on the same resampled rows, so that hard rows cancel out. Logits are
    (rows, labels).
    """
    predicted, expected = logits.argmax(-1), reference_logits.argmax(-1)
    rng = np.random.default_rng(seed)
    drops = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(labels), len(labels))
        drops.append(metric(expected[rows], labels[rows]) - metric(predicted[rows], labels[rows]))
    quality = metric(predicted, labels)
    soft, soft_interval = soft_drop(logits, reference_logits, labels, metric, seed)
    return Quality(
        split=split,
        quality=quality,
        drop=metric(expected, labels) - quality,
        drop_interval=_interval(drops),
        soft_drop=soft,
        soft_drop_interval=soft_interval,
        disagreement=float(np.mean(predicted != expected)),
        examples=len(labels),
        predictions_sha256=hashlib.sha256(predicted.astype("<i8").tobytes()).hexdigest(),
    )


def soft_drop(
    logits: np.ndarray, reference_logits: np.ndarray, labels: np.ndarray, metric: Metric, seed: int
) -> tuple[float, Interval]:
    """The drop of the metric when labels are drawn, not taken by the largest logit: less luck than in `drop`.

    A row near the decision boundary tips over for nothing, and then counts as a whole row lost or won; on 872 rows that
    is most of the noise of a drop. Here it counts for about what it is worth. Reference logits are calibrated by one
    temperature (least log loss on the labels; Guo et al. 2017), the candidate's by the one that makes it as confident,
    since a distilled model is often right with less confidence; both are then sharpened by `SHARPNESS`, and both draw
    with the same noise (Gumbel), so that where they agree they agree. The interval is a 95 % paired bootstrap.
    """
    calibrated = _log_softmax(reference_logits * _temperature(reference_logits, labels))
    matched = _as_confident(logits, np.exp(calibrated).max(-1).mean())
    rng = np.random.default_rng(seed)
    drawn, expected = (np.empty((DRAWS, len(labels)), np.int64) for _ in range(2))
    for draw in range(DRAWS):
        noise = rng.gumbel(size=logits.shape)
        drawn[draw] = (SHARPNESS * matched + noise).argmax(-1)
        expected[draw] = (SHARPNESS * calibrated + noise).argmax(-1)
    drops = []
    for _ in range(RESAMPLES // DRAWS_A_RESAMPLE):
        rows = rng.integers(0, len(labels), len(labels))
        some = rng.integers(0, DRAWS, DRAWS_A_RESAMPLE)
        drops.append(_mean_drop(expected[some][:, rows], drawn[some][:, rows], labels[rows], metric))
    return _mean_drop(expected, drawn, labels, metric), _interval(drops)


def _mean_drop(expected: np.ndarray, drawn: np.ndarray, labels: np.ndarray, metric: Metric) -> float:
    return float(np.mean([metric(a, labels) - metric(b, labels) for a, b in zip(expected, drawn, strict=True)]))


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The factor on logits of the least log loss."""
    rows = np.arange(len(labels))
    losses = [-_log_softmax(logits * factor)[rows, labels].mean() for factor in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _as_confident(logits: np.ndarray, confidence: float) -> Floats:
    """Log probabilities (rows, labels) at the temperature whose mean largest probability comes nearest to `confidence`."""
    scaled = [_log_softmax(logits * factor) for factor in TEMPERATURES]
    return min(scaled, key=lambda log: abs(float(np.exp(log).max(-1).mean()) - confidence))


def _log_softmax(logits: np.ndarray) -> Floats:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _interval(drops: list[float]) -> Interval:
    low, high = np.percentile(drops, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))
