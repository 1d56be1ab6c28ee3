"""How the config of a model without a head says in which way its tokens' states become one embedding."""

from __future__ import annotations

POOLING_KEY = "sentence_embedding"  # key of a base model's config: {"pooling": one of POOLINGS, "normalize": bool}
POOLINGS = ("mean", "cls")  # the mean of all tokens' states, or the state of the first token
