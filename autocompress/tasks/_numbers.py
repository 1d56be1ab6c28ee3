"""Labels that are numbers: read them, and divide them into bins."""

from __future__ import annotations

from math import isfinite

import numpy as np

from autocompress.core.errors import UsageError
from autocompress.data import Table


def read_numbers(table: Table, column: str, way_out: str = "use kind: text-classification") -> np.ndarray:
    """Return a column as float32 (rows,); UsageError names the first row whose value is no finite number."""
    numbers = np.empty(len(table), np.float32)
    for row, value in enumerate(table.columns[column]):
        number = _parse_number(value)
        if number is None:
            raise UsageError(
                f"{table.row_place(row)}: {column} must be a number, but is {value!r:.60}; correct or remove the row, or"
                f" {way_out}"
            )
        numbers[row] = number
    return numbers


def _parse_number(value: object) -> float | None:
    """Return a finite number, or null. Text counts where it is one: a single word makes a csv column text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) and isfinite(np.float32(number)) else None


def quantile_bins(numbers: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin (rows,) of each number, from 0: bins hold about as many rows each, and equal numbers share one."""
    edges = np.unique(np.quantile(numbers, np.arange(1, bins) / bins))
    return np.searchsorted(edges, numbers, side="right")
