"""Matthews correlation of predictions and labels, -1 to 1, 0 for guessing; robust to unequal label frequencies."""

from __future__ import annotations

import numpy as np

from autocompress.metrics import Metric, check_sizes, evaluate_module, is_copy


def compute(predictions: np.ndarray, references: np.ndarray) -> float:
    """Return the Matthews correlation of integer labels `(rows,)`, for any number of labels (Gorodkin 2004).

    It is 0 where it is undefined: all predictions, or all labels, are equal. ValueError if the arrays are empty, differ in
    size, or have a negative label.
    """
    check_sizes(predictions, references)
    labels = max(int(predictions.max()), int(references.max())) + 1
    predicted = np.bincount(predictions, minlength=labels)
    actual = np.bincount(references, minlength=labels)
    hits = (predictions == references).sum()
    return float(from_counts(np.concatenate(([hits], predicted, actual))))


def count(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return (rows, 1 + 2 · labels): whether the prediction is right, then one-hot prediction and reference."""
    labels = np.arange(max(int(predictions.max()), int(references.max())) + 1)
    predicted, actual = predictions[:, None] == labels, references[:, None] == labels
    return np.concatenate(((predictions == references)[:, None], predicted, actual), axis=1)


def from_counts(sums: np.ndarray) -> np.ndarray:
    """Return the Matthews correlation of each selection of rows."""
    # Floats, since the product grows with the fourth power of the rows: 64-bit integers overflow from 60,000 on.
    hits, (predicted, actual) = sums[..., 0].astype(np.float64), np.split(sums[..., 1:].astype(np.float64), 2, axis=-1)
    rows = actual.sum(-1)
    covariance = hits * rows - (predicted * actual).sum(-1)
    spread = (rows**2 - (predicted**2).sum(-1)) * (rows**2 - (actual**2).sum(-1))
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)


METRIC = Metric(
    name="matthews_correlation", reads=("labels",), compute=compute, lowest=-1.0, counts=count, from_counts=from_counts
)
if is_copy(__name__):
    Module = evaluate_module(METRIC, __name__)
