"""Replace full attention by a cheaper variant whose cost is linear in the length."""

from __future__ import annotations

from autocompress.models import attentions
from autocompress.models.candidate import Candidate
from autocompress.models.importance import Importance

VERSION = 1


def apply(candidate: Candidate, value: str, importance: Importance) -> None:
    """Make every layer use the attention variant `value`, a file in autocompress/models/attentions."""
    attentions.check_features(value, candidate.family.features, "attention")
    attentions.set_attention(candidate.model, value)
