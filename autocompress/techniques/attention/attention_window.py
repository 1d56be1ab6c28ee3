"""Set the number of tokens that a token attends to in local attention."""

from __future__ import annotations

from autocompress.models.candidate import Candidate
from autocompress.models.importance import Importance

VERSION = 1


def apply(candidate: Candidate, value: int, importance: Importance) -> None:
    """Write the window, in tokens, to the model's config, from which local attention reads it."""
    candidate.model.config.attention_window = value
