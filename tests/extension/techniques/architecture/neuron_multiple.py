"""Round the number of neurons of each layer down to a multiple, for kernels that read so many at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, WholeNumbers
from autocompress.core.scalar import Scalar, as_int
from autocompress.techniques.stages import StructureTechnique

if TYPE_CHECKING:
    from autocompress.models.importance import Importance
    from autocompress.techniques.structure import Structure


class NeuronMultiple(StructureTechnique):
    """The number that the neurons of each layer are a multiple of."""

    name, order = "neuron_multiple", 9
    domain = WholeNumbers()

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return 1

    def describe(self, value: Scalar) -> str:
        return "" if value == 1 else f"neurons in {value}s"

    def resolve(self, value: Scalar, importance: Importance, structure: Structure) -> Structure:
        multiple = as_int(value)
        neurons = tuple(max(count - count % multiple, 1) for count in structure.neurons)
        return replace(structure, neurons=neurons, details={**structure.details, self.name: multiple})


TECHNIQUE = NeuronMultiple()
