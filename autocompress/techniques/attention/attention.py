"""Replace full attention by a cheaper variant whose cost is linear in the length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, Names
from autocompress.core.scalar import Scalar, as_name
from autocompress.techniques.stages import RuntimeDependent, StructureTechnique

if TYPE_CHECKING:
    from autocompress.models.candidate import Candidate
    from autocompress.models.families import Family
    from autocompress.techniques.probing import RuntimeProbe
    from autocompress.techniques.structure import Structure


class AttentionChoice(StructureTechnique, RuntimeDependent):
    """The attention variant of every layer, a file in autocompress/models/attentions."""

    name, order = "attention", 2
    domain = Names(kind="attentions")
    latency_role = "kernel"

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return "full"

    def describe(self, value: Scalar) -> str:
        return "" if value == "full" else f"{value} attention"

    def supported(self, probe: RuntimeProbe) -> tuple[Scalar, ...]:
        from autocompress.models.attentions import ATTENTIONS

        is_traced_once = probe.target_format.program is not None
        entries = ATTENTIONS.entries().items()
        return tuple(name for name, entry in entries if entry.dynamic_length or not is_traced_once)

    def check_family(self, value: Scalar, family: Family, place: str) -> None:
        from autocompress.models.attentions import check_features

        check_features(as_name(value), family.features, place)

    def build(self, candidate: Candidate, value: Scalar, structure: Structure) -> None:
        from autocompress.models import attentions

        self.check_family(value, candidate.family, self.name)
        attentions.set_attention(candidate.model, as_name(value))


TECHNIQUE = AttentionChoice()
