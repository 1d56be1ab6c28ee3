"""Remove the least important feed-forward neurons, ranked over the whole model by Fisher information (Kwon et al. 2022)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from autocompress.core.scalar import Scalar, as_float
from autocompress.techniques.pruning._sparsity import Sparsity

if TYPE_CHECKING:
    from autocompress.models.importance import Importance
    from autocompress.techniques.structure import Structure

GROUP = 16  # int8 kernels process 16 columns at a time: a layer of 371 neurons is no faster than one of 384


class FfnSparsity(Sparsity):
    """The fraction of the kept layers' neurons that is removed, in groups of 16; each layer keeps at least one group."""

    name, order = "ffn_sparsity", 5

    def describe(self, value: Scalar) -> str:
        return f"−{value:.0%} neurons" if value else ""

    def resolve(self, value: Scalar, importance: Importance, structure: Structure) -> Structure:
        from autocompress.techniques.structure import count_best

        scores = importance.neurons[list(structure.kept_layers)]  # (layers, neurons)
        group = GROUP if scores.shape[1] % GROUP == 0 else 1
        return replace(
            structure, neurons=tuple(map(int, count_best(scores, 1 - as_float(value), group, importance.is_shared)))
        )


TECHNIQUE = FfnSparsity()
