"""F1 of sets of labels, 0 to 1: every label of every row counts once; 1 where no row has or gets a label."""

from __future__ import annotations

import numpy as np

from autocompress.metrics import Metric, check_sizes, evaluate_module, is_copy


def compute(predictions: np.ndarray, references: np.ndarray) -> float:
    """Return 2 · hits ÷ (predicted + actual) of sets `(rows, labels)` of 0 and 1; ValueError where the shapes differ."""
    check_sizes(predictions, references)
    return float(from_counts(count(predictions, references).sum(0)))


def count(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return (rows, 2): labels that are hit, then labels of the prediction and of the row together."""
    return np.stack(((predictions & references).sum(1), predictions.sum(1) + references.sum(1)), axis=1)


def from_counts(sums: np.ndarray) -> np.ndarray:
    """Return the F1 of each selection of rows."""
    hits, occurrences = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    return np.where(occurrences > 0, 2 * hits / np.maximum(occurrences, 1), 1.0)


METRIC = Metric(
    name="micro_f1", reads="label sets", compute=compute, counts=count, from_counts=from_counts, is_sequence=True
)
if is_copy(__name__):
    Module = evaluate_module(METRIC, __name__)
