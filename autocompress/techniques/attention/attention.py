"""Replace full attention by a cheaper variant whose cost is linear in the length."""

from __future__ import annotations

from autocompress.models import attentions
from autocompress.models.slicing import Candidate, Importance

VERSION = 1


def apply(candidate: Candidate, value: str, importance: Importance) -> None:
    """Let every layer attend by the variant `value`, a file in autocompress/attentions/."""
    attentions.register()
    candidate.model.set_attn_implementation(attentions.implementation(value))
