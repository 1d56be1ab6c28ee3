"""Mean of the recall of each label, 0 to 1: rare labels count as much as frequent ones (Brodersen et al. 2010)."""

from __future__ import annotations

import numpy as np

from autocompress.metrics import Metric, check_sizes, evaluate_module, is_copy


def compute(predictions: np.ndarray, references: np.ndarray) -> float:
    """Return the balanced accuracy of integer labels `(rows,)`, over the labels that occur in `references`.

    ValueError if the arrays are empty or differ in size.
    """
    check_sizes(predictions, references)
    return float(from_counts(count(predictions, references).sum(0)))


def count(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return (rows, 2 · labels): whether a label is hit, then whether it is the row's."""
    actual = references[:, None] == np.arange(int(references.max()) + 1)
    return np.concatenate((actual & (predictions == references)[:, None], actual), axis=1)


def from_counts(sums: np.ndarray) -> np.ndarray:
    """Return the mean recall of each selection of rows."""
    hits, actual = np.split(np.asarray(sums, np.float64), 2, axis=-1)
    recall = np.where(actual > 0, hits / np.maximum(actual, 1), 0.0)
    return np.asarray(recall.sum(-1) / (actual > 0).sum(-1))


METRIC = Metric(name="balanced_accuracy", reads="labels", compute=compute, counts=count, from_counts=from_counts)
if is_copy(__name__):
    Module = evaluate_module(METRIC, __name__)
