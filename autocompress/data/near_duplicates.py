"""Find texts that are nearly the same as some others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHARED = 0.8  # of the pairs of neighbouring tokens that two texts have together (Jaccard), from which on they count as the same
BATCH = 1000  # texts that are compared at once


def near_duplicates(texts: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Return which texts (texts,) share at least 0.8 of their pairs of neighbouring tokens with one of the others.

    A text is a row of token ids; with special tokens at its ends a single word is two pairs.
    """
    from scipy.sparse import csr_matrix

    if not texts or not others:
        return np.zeros(len(texts), bool)
    pairs = [_pairs(row) for row in (*texts, *others)]
    numbers, columns = np.unique(np.concatenate(pairs), return_inverse=True)
    starts = np.concatenate(([0], np.cumsum([len(row) for row in pairs])))
    holds = csr_matrix((np.ones(len(columns), np.int32), columns, starts), shape=(len(pairs), len(numbers)))
    sizes = np.diff(starts)
    known, known_sizes = holds[len(texts) :].T.tocsr(), sizes[len(texts) :]
    found = np.zeros(len(texts), bool)
    for start in range(0, len(texts), BATCH):
        end = min(start + BATCH, len(texts))
        common = (holds[start:end] @ known).tocoo()
        either = sizes[start:end][common.row] + known_sizes[common.col] - common.data
        found[start + common.row[common.data >= SHARED * either]] = True
    return found


def _pairs(row: np.ndarray) -> np.ndarray:
    """Return the distinct pairs of neighbouring tokens, each as one number."""
    ids = np.asarray(row, np.int64)
    return np.unique(ids[:-1] * (1 << 32) + ids[1:]) if len(ids) > 1 else ids
