"""Keep fewer layers, chosen by how much removing each one changes the predictions on calibration rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, WholeNumbers
from autocompress.core.scalar import Scalar, as_int
from autocompress.techniques.stages import StructureTechnique

if TYPE_CHECKING:
    from autocompress.models.importance import Importance
    from autocompress.techniques.structure import Structure


class Depth(StructureTechnique):
    """The number of layers kept: those that come last in the measured order of removal; their sequence stays the same."""

    name, order = "depth", 1
    domain = WholeNumbers(limit="layers")

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return None if anatomy is None else anatomy.layers

    def describe(self, value: Scalar) -> str:
        return "all layers" if value is None else f"{value} layer{'' if value == 1 else 's'}"

    def medium_value(self, anatomy: Anatomy) -> Scalar:
        return -(-2 * anatomy.layers // 3)

    def subnet_values(self, choices: Sequence[Scalar]) -> tuple[Scalar, ...]:
        return tuple(choices)

    def resolve(self, value: Scalar, importance: Importance, structure: Structure) -> Structure:
        layers = len(importance.removal)
        kept = sorted(importance.removal[layers - as_int(value) :])
        heads, neurons = (tuple(counts[index] for index in kept) for counts in (structure.heads, structure.neurons))
        return replace(structure, kept_layers=tuple(kept), heads=heads, neurons=neurons)


TECHNIQUE = Depth()
