"""Similarities of embeddings: of labelled pairs of texts, or of pairs that are drawn from the texts of a split."""

from __future__ import annotations

import numpy as np

from autocompress.tasks import Tokens

SEED = 0  # of the pairs; the order of the texts comes from the study


def has_labelled_pairs(tokens: Tokens) -> bool:
    """Return whether the texts of a split are labelled pairs, one after the other, and not single texts."""
    return not np.isnan(tokens.labels.values).any()


def pair_similarities(embeddings: np.ndarray, tokens: Tokens) -> np.ndarray:
    """Return the cosine similarity (pairs,) of each pair of texts of a split; embeddings are (texts, hidden)."""
    first, second = list_pairs(len(embeddings), has_labelled_pairs(tokens)).T
    return cosines(embeddings[first], embeddings[second])


def list_pairs(texts: int, labelled: bool) -> np.ndarray:
    """Return the numbers of the texts of each pair, (pairs, 2).

    Labelled pairs stand one after the other. Otherwise a seeded ring through all texts puts each of them into two pairs, so
    that pairs depend on each other as little as possible and a bootstrap over pairs is sound.
    """
    if labelled:
        return np.arange(texts).reshape(-1, 2)
    ring = np.random.default_rng(SEED).permutation(texts)
    return np.stack((ring, np.roll(ring, 1)), axis=1)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine (rows,) of the angle between the rows of two arrays (rows, hidden); 0 for a row of zeros."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    similarities: np.ndarray = (a * b).sum(-1) / np.where(lengths > 0, lengths, 1.0)
    return similarities
