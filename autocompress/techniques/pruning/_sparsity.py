"""What the techniques that remove a fraction of the kept layers' parts share."""

from __future__ import annotations

from collections.abc import Sequence

from autocompress.core.domain import Anatomy, Fractions
from autocompress.core.scalar import Scalar, as_float
from autocompress.techniques.stages import StructureTechnique


class Sparsity(StructureTechnique):
    """A fraction of parts that is removed, ranked over the whole model."""

    domain = Fractions()

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return 0.0

    def medium_value(self, anatomy: Anatomy) -> Scalar:
        return 0.5

    def subnet_values(self, choices: Sequence[Scalar]) -> tuple[Scalar, ...]:
        numbers = sorted(map(as_float, choices))
        return tuple(numbers[len(numbers) // 2 :])
