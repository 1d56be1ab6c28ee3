"""Pearson correlation of predicted and true numbers, -1 to 1: how well a straight line relates them."""

from __future__ import annotations

import numpy as np

from autocompress.metrics import Metric, check_sizes, evaluate_module, is_copy

ROUNDING = 1e-12  # variances below it, relative to the mean square, are rounding errors of equal numbers


def compute(predictions: np.ndarray, references: np.ndarray) -> float:
    """Return the Pearson correlation of numbers `(rows,)`; 0 where it is undefined: one side has equal numbers only.

    ValueError if the arrays are empty or differ in size.
    """
    check_sizes(predictions, references)
    return float(from_counts(count(predictions, references).sum(0)))


def count(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return (rows, 6): 1, x, y, x², y², x·y, of numbers from which the mean of all rows is taken, for precision."""
    x, y = (_center(np.asarray(numbers, np.float64)) for numbers in (predictions, references))
    return np.stack((np.ones(len(x)), x, y, x**2, y**2, x * y), axis=1)


def from_counts(sums: np.ndarray) -> np.ndarray:
    """Return the Pearson correlation of each selection of rows."""
    rows, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    variances = xx / rows - (x / rows) ** 2, yy / rows - (y / rows) ** 2
    varies = (variances[0] > ROUNDING * xx / rows) & (variances[1] > ROUNDING * yy / rows)
    spread = np.sqrt(np.where(varies, variances[0] * variances[1], 1.0))
    return np.where(varies, np.clip((xy / rows - x * y / rows**2) / spread, -1.0, 1.0), 0.0)


def _center(numbers: np.ndarray) -> np.ndarray:
    """Subtract the mean; equal numbers become exactly 0."""
    return np.zeros(len(numbers)) if np.ptp(numbers) == 0 else np.asarray(numbers - numbers.mean())


METRIC = Metric(
    name="pearson",
    reads=("numbers",),
    compute=compute,
    lowest=-1.0,
    counts=count,
    from_counts=from_counts,
    value_type="float64",
)
if is_copy(__name__):
    Module = evaluate_module(METRIC, __name__)
