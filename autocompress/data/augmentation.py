"""More rows for the candidate to learn the teacher's opinion of: the training rows, cut, joined and with words hidden.

A teacher can label any text, so a small candidate need not learn the same few thousand rows by heart (Tang et al. 2019,
"Distilling Task-Specific Knowledge from BERT": masking and n-gram sampling; joined rows are ours, and bring lengths that
short training rows lack).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

VERSION = 1
UNLABELLED = -100  # what torch's cross_entropy ignores
HIDDEN = 0.1  # of the words of a masked row
MASKED, JOINED = 0.25, 0.6  # shares of the copies; the rest are cut


@dataclass(frozen=True)
class Specials:
    """What the tokenizer puts around a row, and the id that hides a word."""

    ids: frozenset[int]
    mask: int | None


def augment(
    rows: Sequence[np.ndarray],  # token ids of each row, special tokens on
    types: Sequence[np.ndarray] | None,
    count: int,
    specials: Specials,
    seed: int,
) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """`count` varied copies of the rows (and the token types that go with them), taken in turn from the first on.

    Pairs of texts keep their form and only have words hidden. A joined row is no longer than the 95 % quantile of the
    rows, so that the copies cost about what the rows do.
    """
    rng = np.random.default_rng(seed)
    longest = int(np.quantile([len(row) for row in rows], 0.95))
    repeated = [rows[index % len(rows)] for index in range(count)]
    if types is not None or any(len(_special_places(row, specials)) != 2 for row in rows[:100]):
        varied = [_hide(row, specials, rng) for row in repeated]
        return varied, None if types is None else [types[index % len(types)] for index in range(count)]
    varied = []
    for row in repeated:
        draw = rng.random()
        if draw < MASKED:
            varied.append(_hide(row, specials, rng))
        elif draw < MASKED + JOINED:
            varied.append(_join(row, rows[int(rng.integers(len(rows)))], longest))
        else:
            varied.append(_cut(row, rng))
    return varied, None


def _hide(row: np.ndarray, specials: Specials, rng: np.random.Generator) -> np.ndarray:
    """Some words replaced by the mask; a tokenizer that has none leaves the row as it is."""
    if specials.mask is None:
        return row
    words = ~np.isin(row, list(specials.ids))
    return np.where(words & (rng.random(len(row)) < HIDDEN), specials.mask, row)


def _join(row: np.ndarray, other: np.ndarray, longest: int) -> np.ndarray:
    """One row's words behind another's, between one pair of special tokens."""
    words = np.concatenate((row[1:-1], other[1:-1]))[: max(longest - 2, 1)]
    return np.concatenate((row[:1], words, row[-1:]))


def _cut(row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A run of the row's words, of any length from one up."""
    words = row[1:-1]
    if len(words) < 2:
        return row
    size = int(rng.integers(1, len(words) + 1))
    start = int(rng.integers(0, len(words) - size + 1))
    return np.concatenate((row[:1], words[start : start + size], row[-1:]))


def _special_places(row: np.ndarray, specials: Specials) -> np.ndarray:
    return np.flatnonzero(np.isin(row, list(specials.ids)))
