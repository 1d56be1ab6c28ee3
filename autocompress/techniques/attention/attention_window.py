"""How many tokens, in all, a token sees in local attention."""

from __future__ import annotations

from autocompress.models.slicing import Candidate, Importance

VERSION = 1


def apply(candidate: Candidate, value: int, importance: Importance) -> None:
    """Write the window into the model's config, where the attention reads it."""
    candidate.model.config.attention_window = value
