"""Compute quality from a model's outputs: the metric of a split, the drop against the reference, and their uncertainty."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autocompress.core.agreement import Agreement
from autocompress.core.measurement import Interval, Quality
from autocompress.data.ragged import Ragged
from autocompress.metrics import Metric
from autocompress.tasks import Task, Tokens

RESAMPLES = 2000
DRAWS, DRAWS_A_RESAMPLE = 64, 8
CHUNK = 100  # resamples whose weights are in memory at once

Floats = NDArray[np.float64]


def score(
    split: str,
    task: Task,
    outputs: Ragged,
    reference: Ragged,
    tokens: Tokens,
    metric: Metric,
    seed: int,
    teacher: Ragged | None = None,
) -> Quality:
    """Return the metric of a split and its drop against the reference, with a 95 % paired bootstrap interval.

    Paired: candidate and reference are scored on the same resampled rows, so that hard rows cancel out. `teacher`: the
    teacher's outputs, which judge where there are no labels; null: the reference is the teacher.
    """
    predicted, expected = task.predict(outputs, tokens), task.predict(reference, tokens)
    truth = task.references(tokens, reference if teacher is None else teacher)
    factor = metric.quality_factor
    quality = factor * metric.compute(predicted, truth)
    soft, soft_interval = soft_drop(task, outputs, reference, tokens, metric, seed)
    confidence = task.confidence_drops(outputs, reference, (reference, tokens))
    return Quality(
        split=split,
        quality=quality,
        drop=factor * metric.compute(expected, truth) - quality,
        drop_interval=_percentile_interval(_resampled_drops(predicted, expected, truth, metric, seed)),
        soft_drop=soft,
        soft_drop_interval=soft_interval,
        confidence_drop=None if confidence is None else float(confidence.mean()),
        disagreement=task.disagreement(predicted, expected),
        examples=len(truth),
        predictions_sha256=_hash(predicted),
    )


def soft_drop(
    task: Task, outputs: Ragged, reference: Ragged, tokens: Tokens, metric: Metric, seed: int
) -> tuple[float | None, Interval | None]:
    """Return a lower-variance estimate of the drop, and its interval; nulls where the task has none.

    Predictions are drawn (see `Task.draw_predictions`). The interval is a 95 % paired bootstrap over rows and draws.
    """
    rng = np.random.default_rng(seed)
    drawn = task.draw_predictions(outputs, reference, tokens, DRAWS, rng)
    if drawn is None:
        return None, None
    truth = task.references(tokens, reference)
    weights = np.empty((RESAMPLES // DRAWS_A_RESAMPLE, len(truth)), np.uint16)
    picks = np.empty((len(weights), DRAWS_A_RESAMPLE), np.int64)
    for index in range(len(weights)):
        weights[index] = _draw_weights(rng, len(truth))
        picks[index] = rng.integers(0, DRAWS, DRAWS_A_RESAMPLE)
    candidate, expected = (_score_draws(predictions, truth, metric, weights, picks) for predictions in drawn)
    whole = [metric.compute(b, truth) - metric.compute(a, truth) for a, b in zip(*drawn, strict=True)]
    resampled = metric.quality_factor * (expected - candidate).mean(1)
    return metric.quality_factor * float(np.mean(whole)), _percentile_interval(resampled)


def compare(
    task: Task,
    outputs: Ragged,
    reference: Ragged,
    tokens: Tokens,
    metric: Metric,
    seed: int,
    known: tuple[Ragged, Tokens],
    has_labels: bool,
) -> Agreement:
    """Compare a candidate with the teacher (`reference`) on agreement rows.

    `known`: the teacher's outputs on rows with labels, and these rows. ValueError for a task without `confidence_drops`.
    """
    drops = task.confidence_drops(outputs, reference, known)
    if drops is None:
        raise ValueError(f"{task.name} has no agreement rows")
    soft, interval = soft_drop(task, outputs, reference, tokens, metric, seed) if has_labels else (None, None)
    return Agreement(
        rows=len(drops),
        disagreement=task.disagreement(task.predict(outputs, tokens), task.predict(reference, tokens)),
        confidence_drop=float(drops.mean()),
        drop=soft,
        drop_deviation=None if interval is None else (interval.high - interval.low) / 3.92,
    )


def _resampled_drops(
    predicted: np.ndarray, expected: np.ndarray, truth: np.ndarray, metric: Metric, seed: int
) -> Floats:
    """Return the drops (resamples,) of the same rows, drawn with replacement."""
    rng = np.random.default_rng(seed)
    scorers = [_RowScorer(predictions, truth, metric) for predictions in (predicted, expected)]
    drops = []
    for weights in _weights_in_chunks(rng, len(truth)):
        candidate, reference = (scorer.score(weights) for scorer in scorers)
        drops.append(metric.quality_factor * (reference - candidate))
    return np.concatenate(drops)


class _RowScorer:
    """Scores rows that are repeated: from their counts, or anew where the metric has none."""

    def __init__(self, predictions: np.ndarray, truth: np.ndarray, metric: Metric) -> None:
        self._predictions, self._truth, self._metric = predictions, truth, metric
        self._counts = None if metric.counts is None else metric.counts(predictions, truth).astype(np.float64)

    def score(self, weights: np.ndarray) -> Floats:
        """Return the scores (selections,); `weights` (selections, rows) says how often each row is repeated."""
        from_counts = self._metric.from_counts
        if self._counts is not None and from_counts is not None:
            return from_counts(weights.astype(np.float64) @ self._counts)
        selections = [np.repeat(np.arange(len(self._truth)), repeats) for repeats in weights]
        scores = [self._metric.compute(self._predictions[rows], self._truth[rows]) for rows in selections]
        return np.array(scores, np.float64)


def _score_draws(
    draws: np.ndarray, truth: np.ndarray, metric: Metric, weights: np.ndarray, picks: np.ndarray
) -> Floats:
    """Return the scores (selections, picks) of the draws that `picks` names for each selection of rows."""
    scores = np.empty(picks.shape)
    for number, predictions in enumerate(draws):
        selections, places = np.nonzero(picks == number)
        scores[selections, places] = _RowScorer(predictions, truth, metric).score(weights[selections])
    return scores


def _weights_in_chunks(rng: np.random.Generator, rows: int) -> Iterator[np.ndarray]:
    """Yield how often each of `RESAMPLES` resamples holds each row, as (up to CHUNK, rows)."""
    for start in range(0, RESAMPLES, CHUNK):
        yield np.stack([_draw_weights(rng, rows) for _ in range(min(CHUNK, RESAMPLES - start))])


def _draw_weights(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Draw as many rows as there are, with replacement; return how often each was drawn."""
    return np.bincount(rng.integers(0, rows, rows), minlength=rows)


def _hash(predictions: np.ndarray) -> str:
    """Return the sha256 of predictions, independent of the machine."""
    if predictions.dtype == object:  # a list of each row
        return hashlib.sha256(json.dumps(predictions.tolist()).encode()).hexdigest()
    kind = "<i8" if np.issubdtype(predictions.dtype, np.integer) else "<f8"
    return hashlib.sha256(predictions.astype(kind).tobytes()).hexdigest()


def _percentile_interval(drops: Floats) -> Interval:
    low, high = np.percentile(drops, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))
