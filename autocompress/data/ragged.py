"""Rows of unequal length in one array: labels or outputs, one of each text or one of each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VALUES_FILE, COUNTS_FILE = "logits.npy", "units.npy"  # the second one only where a row has other than one unit


@dataclass(frozen=True, eq=False)
class Ragged:
    """The units of all rows, one row after the other: the text itself, or its tokens."""

    values: np.ndarray  # (units, …)
    counts: NDArray[np.int64]  # (rows,): units of each row

    @classmethod
    def one_each(cls, values: np.ndarray) -> Ragged:
        """Return rows of one unit each; `values` is (rows, …)."""
        return cls(values, np.ones(len(values), np.int64))

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Ragged:
        """Return the rows of several parts, one part after the other."""
        return cls(np.concatenate([part.values for part in parts]), np.concatenate([part.counts for part in parts]))

    @property
    def has_single_units(self) -> bool:
        """Whether every row is one unit."""
        return len(self.values) == len(self.counts) and bool((self.counts == 1).all())

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, rows: np.ndarray) -> Ragged:
        """Return some rows, in the order of their numbers."""
        if self.has_single_units:
            return Ragged(self.values[rows], self.counts[rows])
        starts, counts = np.cumsum(self.counts) - self.counts, self.counts[rows]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return Ragged(self.values[np.repeat(starts[rows], counts) + within], counts)

    def padded(self, filling: float) -> np.ndarray:
        """Return an array (rows, longest, …) in which `filling` follows the units of each row."""
        longest = int(self.counts.max(initial=0))
        array = np.full((len(self), longest, *self.values.shape[1:]), filling, self.values.dtype)
        array[np.arange(longest) < self.counts[:, None]] = self.values
        return array


def save_outputs(outputs: Ragged, folder: Path) -> None:
    """Write the outputs of a model: `logits.npy` (units, width), and the units of each row where they are not one each."""
    np.save(folder / VALUES_FILE, outputs.values)
    if not outputs.has_single_units:
        np.save(folder / COUNTS_FILE, outputs.counts)


def load_outputs(folder: Path) -> Ragged:
    """Read what `save_outputs` wrote."""
    values = np.load(folder / VALUES_FILE)
    counts = folder / COUNTS_FILE
    return Ragged(values, np.load(counts)) if counts.is_file() else Ragged.one_each(values)
