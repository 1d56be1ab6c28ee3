"""Fraction of correct predictions, 0 to 1."""

from __future__ import annotations

from operator import eq

import numpy as np

from autocompress.metrics import Metric, check_sizes, evaluate_module, is_copy


def compute(predictions: np.ndarray, references: np.ndarray) -> float:
    """Return the accuracy of integer labels `(rows,)`, or of tags: an array `(rows,)` of tuples, one tag of each word.

    ValueError if the arrays are empty or differ in size.
    """
    check_sizes(predictions, references)
    return float(from_counts(count(predictions, references).sum(0)))


def count(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return (rows, 2): right predictions and all predictions, 1 of each label, or one of each word."""
    if references.dtype == object:
        pairs = [(sum(map(eq, *row)), len(row[1])) for row in zip(predictions, references, strict=True)]
        return np.array(pairs, np.int64)
    return np.stack((predictions == references, np.ones(len(references))), axis=1)


def from_counts(sums: np.ndarray) -> np.ndarray:
    """Return the fraction of right predictions."""
    return np.asarray(sums[..., 0] / sums[..., 1])


METRIC = Metric(name="accuracy", reads=("labels", "tags"), compute=compute, counts=count, from_counts=from_counts)
if is_copy(__name__):
    Module = evaluate_module(METRIC, __name__)
