"""Remove the least important attention heads of the whole model by slicing q, k, v and o (Michel et al. 2019)."""

from __future__ import annotations

import numpy as np

from autocompress.models.slicing import Candidate, Importance, keep_heads
from autocompress.techniques.pruning._rank import keep_best

VERSION = 1


def apply(candidate: Candidate, value: float, importance: Importance) -> None:
    """Remove the fraction `value` of the kept layers' heads, ranked over the whole model; each layer keeps one."""
    scores = importance.heads[list(candidate.kept_layers)]  # (layers, heads)
    layers = candidate.family.layers(candidate.model)
    for layer, kept in zip(layers, keep_best(scores, 1 - value), strict=True):
        keep_heads(candidate.family, layer, np.flatnonzero(kept))
