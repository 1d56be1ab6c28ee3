"""Set the number of tokens that a token attends to in local attention."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, WholeNumbers
from autocompress.core.scalar import Scalar
from autocompress.models.attentions import ATTENTIONS
from autocompress.techniques.stages import StructureTechnique

if TYPE_CHECKING:
    from autocompress.models.candidate import Candidate
    from autocompress.techniques.structure import Structure


class AttentionWindow(StructureTechnique):
    """The window, in tokens of both sides together, that the model's config holds and local attention reads."""

    name, order = "attention_window", 3
    domain = WholeNumbers(least=2)
    reads = ("attention",)
    is_part_of_read = True
    when_missing = "local attention needs a window; add e.g. attention_window: [32, 64]"
    when_useless = "only local attention has a window; add local to attention or remove this key"

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return None

    def applies(self, read: Mapping[str, Scalar]) -> bool:
        return str(read["attention"]) in _windowed_attentions()

    def describe(self, value: Scalar) -> str:
        return "" if value is None else str(value)

    def build(self, candidate: Candidate, value: Scalar, structure: Structure) -> None:
        candidate.model.config.attention_window = value


@cache
def _windowed_attentions() -> frozenset[str]:
    """Return the names of the attentions that need a window."""
    return frozenset(name for name, entry in ATTENTIONS.entries().items() if entry.needs_window)


TECHNIQUE = AttentionWindow()
