"""Remove the least important FFN neurons of the whole model, by the Fisher information of a gate (Kwon et al. 2022)."""

from __future__ import annotations

import numpy as np

from autocompress.models.slicing import Candidate, Importance, keep_neurons
from autocompress.techniques.pruning._rank import keep_best

VERSION = 1
GROUP = 16  # int8 kernels work on 16 columns at a time: a layer of 371 neurons runs no faster than one of 384


def apply(candidate: Candidate, value: float, importance: Importance) -> None:
    """Remove the fraction `value` of the kept layers' neurons, ranked over the whole model, in groups of 16."""
    scores = importance.neurons[list(candidate.kept_layers)]  # (layers, neurons)
    group = GROUP if scores.shape[1] % GROUP == 0 else 1
    layers = candidate.family.layers(candidate.model)
    for layer, kept in zip(layers, keep_best(scores, 1 - value, group), strict=True):
        keep_neurons(candidate.family, layer, np.flatnonzero(kept))
