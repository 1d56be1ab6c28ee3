"""Rank heads or neurons over the whole model."""

from __future__ import annotations

import numpy as np


def select_best(scores: np.ndarray, fraction: float, group: int = 1) -> np.ndarray:
    """Return a mask (layers, units) of the best `fraction` of all units, in whole groups, at least one group per layer.

    The units of a layer are sorted by score and form groups of `group` units, so that every layer keeps a multiple of
    it. Groups are ranked over the whole model by their mean score.
    """
    layers, units = scores.shape
    order = np.argsort(-scores, axis=1, kind="stable")  # best first
    grouped = np.take_along_axis(scores, order, axis=1).reshape(layers, units // group, group).mean(axis=2)
    keep = max(layers, round(fraction * grouped.size))
    ranked = grouped.copy()
    ranked[:, 0] = np.inf  # every layer keeps its best group
    selected = np.zeros(grouped.size, bool)
    selected[np.argsort(-ranked, axis=None, kind="stable")[:keep]] = True
    counts = selected.reshape(grouped.shape).sum(axis=1) * group
    mask = np.zeros_like(scores, dtype=bool)
    for layer, count in enumerate(counts):
        mask[layer, order[layer, :count]] = True
    return mask
