"""Remove the least important attention heads, ranked over the whole model (Michel et al. 2019)."""

from __future__ import annotations

import numpy as np

from autocompress.models.blocks import BLOCKS
from autocompress.models.candidate import Candidate
from autocompress.models.importance import Importance
from autocompress.techniques.pruning._ranking import select_best

VERSION = 1


def apply(candidate: Candidate, value: float, importance: Importance) -> None:
    """Remove the fraction `value` of the kept layers' heads; each layer keeps at least one."""
    family = candidate.family
    scores = family.distinct(importance.heads[list(candidate.kept_layers)])  # (layers, heads)
    layers = family.distinct(family.parts(candidate.model))
    for parts, kept in zip(layers, select_best(scores, 1 - value), strict=True):
        BLOCKS.load(family.block).keep_heads(parts, np.flatnonzero(kept))
