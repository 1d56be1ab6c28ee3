"""Remove the least important attention heads, ranked over the whole model (Michel et al. 2019)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from autocompress.core.scalar import Scalar, as_float
from autocompress.techniques.pruning._sparsity import Sparsity

if TYPE_CHECKING:
    from autocompress.models.importance import Importance
    from autocompress.techniques.structure import Structure


class HeadSparsity(Sparsity):
    """The fraction of the kept layers' heads that is removed; each layer keeps at least one."""

    name, order = "head_sparsity", 4

    def describe(self, value: Scalar) -> str:
        return f"−{value:.0%} heads" if value else ""

    def resolve(self, value: Scalar, importance: Importance, structure: Structure) -> Structure:
        from autocompress.techniques.structure import count_best

        scores = importance.heads[list(structure.kept_layers)]  # (layers, heads)
        return replace(
            structure, heads=tuple(map(int, count_best(scores, 1 - as_float(value), shared=importance.is_shared)))
        )


TECHNIQUE = HeadSparsity()
