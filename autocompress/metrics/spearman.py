"""Spearman correlation of predicted and true numbers, -1 to 1: how well both order the rows; equal numbers share a rank."""

from __future__ import annotations

import numpy as np

from autocompress.metrics import Metric, check_sizes, evaluate_module, is_copy


def compute(predictions: np.ndarray, references: np.ndarray) -> float:
    """Return the Pearson correlation of the ranks of numbers `(rows,)`, whose ties get their mean rank (Spearman 1904).

    It is 0 where it is undefined: one side has equal numbers only. ValueError if the arrays are empty or differ in size.
    """
    check_sizes(predictions, references)
    x, y = (rank(numbers) for numbers in (predictions, references))
    x, y = x - x.mean(), y - y.mean()
    spread = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / spread) if spread > 0 else 0.0


def rank(numbers: np.ndarray) -> np.ndarray:
    """Return the rank (rows,) of each number, from 1; equal numbers get the mean of their ranks."""
    _, groups, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[groups])


METRIC = Metric(name="spearman", reads=("numbers",), compute=compute, lowest=-1.0, value_type="float64")
if is_copy(__name__):
    Module = evaluate_module(METRIC, __name__)
