"""Remove the least important feed-forward neurons, ranked over the whole model by Fisher information (Kwon et al. 2022)."""

from __future__ import annotations

import numpy as np

from autocompress.models.blocks import BLOCKS
from autocompress.models.candidate import Candidate
from autocompress.models.importance import Importance
from autocompress.techniques.pruning._ranking import select_best

VERSION = 1
GROUP = 16  # int8 kernels process 16 columns at a time: a layer of 371 neurons is no faster than one of 384


def apply(candidate: Candidate, value: float, importance: Importance) -> None:
    """Remove the fraction `value` of the kept layers' neurons in groups of 16; each layer keeps at least one group."""
    family = candidate.family
    scores = family.distinct(importance.neurons[list(candidate.kept_layers)])  # (layers, neurons)
    group = GROUP if scores.shape[1] % GROUP == 0 else 1
    layers = family.distinct(family.parts(candidate.model))
    for parts, kept in zip(layers, select_best(scores, 1 - value, group), strict=True):
        BLOCKS.load(family.block).keep_neurons(parts, np.flatnonzero(kept))
