"""Choose units over the whole model."""

from __future__ import annotations

import numpy as np


def keep_best(scores: np.ndarray, fraction: float, group: int = 1) -> np.ndarray:
    """Mask (layers, units) of the units to keep: the best `fraction` of all, in whole groups, at least one a layer.

    Units of a layer are first sorted by score and taken in groups of `group`, so that every layer's count is a
    multiple of it; groups compete over the whole model by their mean score.
    """
    layers, units = scores.shape
    order = np.argsort(-scores, axis=1, kind="stable")  # best first
    grouped = np.take_along_axis(scores, order, axis=1).reshape(layers, units // group, group).mean(axis=2)
    keep = max(layers, round(fraction * grouped.size))
    ranked = grouped.copy()
    ranked[:, 0] = np.inf  # the best group of every layer stays
    chosen = np.zeros(grouped.size, bool)
    chosen[np.argsort(-ranked, axis=None, kind="stable")[:keep]] = True
    counts = chosen.reshape(grouped.shape).sum(axis=1) * group
    mask = np.zeros_like(scores, dtype=bool)
    for layer, count in enumerate(counts):
        mask[layer, order[layer, :count]] = True
    return mask
