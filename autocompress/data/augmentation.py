"""Augmented rows for distillation: training rows with words masked, joined to another row, or cut to an n-gram.

The teacher labels them, so that a small candidate does not overfit a few thousand rows. Masking and n-gram sampling follow
Tang et al. 2019, "Distilling Task-Specific Knowledge from BERT"; joined rows add lengths that short training rows lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

VERSION = 1
MASK_RATE = 0.1  # fraction of the words of a masked row
MASKED, JOINED = 0.25, 0.6  # fractions of the copies; the rest are cut


@dataclass(frozen=True)
class Specials:
    """The ids of the tokenizer's special tokens, and the id of its mask token, if it has one."""

    ids: frozenset[int]
    mask: int | None


def augment(
    rows: Sequence[np.ndarray],  # token ids of each row, with special tokens
    types: Sequence[np.ndarray] | None,
    count: int,
    specials: Specials,
    seed: int,
) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """Return `count` augmented copies of the rows, taken in turn from the first, and their token types.

    Pairs of texts are masked only. A joined row is at most as long as the 95 % quantile of the rows, so that a copy costs
    about as much as a row.
    """
    rng = np.random.default_rng(seed)
    longest = int(np.quantile([len(row) for row in rows], 0.95))
    repeated = [rows[index % len(rows)] for index in range(count)]
    if not are_single_texts(rows, types, specials):
        copies = [_mask_words(row, specials, rng) for row in repeated]
        return copies, None if types is None else [types[index % len(types)] for index in range(count)]
    copies = []
    for row in repeated:
        draw = rng.random()
        if draw < MASKED:
            copies.append(_mask_words(row, specials, rng))
        elif draw < MASKED + JOINED:
            copies.append(_join_rows(row, rows[int(rng.integers(len(rows)))], longest))
        else:
            copies.append(_cut_ngram(row, rng))
    return copies, None


def are_single_texts(rows: Sequence[np.ndarray], types: Sequence[np.ndarray] | None, specials: Specials) -> bool:
    """Return whether rows are single texts between two special tokens, and not pairs of texts."""
    return types is None and all(len(_special_positions(row, specials)) == 2 for row in rows[:100])


def _mask_words(row: np.ndarray, specials: Specials, rng: np.random.Generator) -> np.ndarray:
    """Replace some words by the mask token; without a mask token, return the row unchanged."""
    if specials.mask is None:
        return row
    words = ~np.isin(row, list(specials.ids))
    return np.where(words & (rng.random(len(row)) < MASK_RATE), specials.mask, row)


def _join_rows(row: np.ndarray, appended: np.ndarray, longest: int) -> np.ndarray:
    """Append the words of another row, inside one pair of special tokens."""
    words = np.concatenate((row[1:-1], appended[1:-1]))[: max(longest - 2, 1)]
    return np.concatenate((row[:1], words, row[-1:]))


def _cut_ngram(row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keep a random n-gram of the row's words, of length 1 or more."""
    words = row[1:-1]
    if len(words) < 2:
        return row
    size = int(rng.integers(1, len(words) + 1))
    start = int(rng.integers(0, len(words) - size + 1))
    return np.concatenate((row[:1], words[start : start + size], row[-1:]))


def _special_positions(row: np.ndarray, specials: Specials) -> np.ndarray:
    return np.flatnonzero(np.isin(row, list(specials.ids)))
