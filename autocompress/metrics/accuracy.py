"""Fraction of correct predictions, 0 to 1."""

from __future__ import annotations

import numpy as np

from autocompress.metrics import Metric, check_sizes, evaluate_module, is_copy


def compute(predictions: np.ndarray, references: np.ndarray) -> float:
    """Return the accuracy of integer labels `(rows,)`; ValueError if the arrays are empty or differ in size."""
    check_sizes(predictions, references)
    return float((predictions == references).mean())


def count(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return (rows, 2): whether the prediction is right, and 1."""
    return np.stack((predictions == references, np.ones(len(references))), axis=1)


def from_counts(sums: np.ndarray) -> np.ndarray:
    """Return the fraction of right predictions."""
    return np.asarray(sums[..., 0] / sums[..., 1])


METRIC = Metric(name="accuracy", reads="labels", compute=compute, counts=count, from_counts=from_counts)
if is_copy(__name__):
    Module = evaluate_module(METRIC, __name__)
