"""Terms that are added to attention scores: of masked keys, of keys outside a band, and of relative positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Added to the score of a masked key, as in BERT's own code: exp(-10,000) is 0 in every float type. Unlike the minimum of
# the type, it stays finite when cast to bfloat16 or float16, so that no row becomes NaN.
MASKED = -1e4


def mask_outside_band(attention_mask: Tensor | None, query: Tensor, key: Tensor, window: int) -> Tensor:
    """Add MASKED to the additive mask (batch, 1, 1, keys) where |i − j| > window: (batch or 1, 1, queries, keys)."""
    import torch

    outside = _relative_positions(query, key).abs() > window
    band = torch.where(outside, MASKED, 0.0).unsqueeze(0).unsqueeze(0)
    return band if attention_mask is None else attention_mask + band.to(attention_mask.dtype)


def add_position_bias(attention_mask: Tensor | None, query: Tensor, key: Tensor, position_bias: Tensor) -> Tensor:
    """Add the term of each pair's relative position to an additive mask: (batch or 1, heads, queries, keys)."""
    bias = look_up_bias(position_bias, _relative_positions(query, key))
    return bias if attention_mask is None else bias + attention_mask


def look_up_bias(position_bias: Tensor, relative: Tensor) -> Tensor:
    """Return the terms (1, heads, …) of some relative positions j − i, from (1, heads, 2 × positions − 1)."""
    return position_bias[:, :, relative + position_bias.shape[2] // 2]


def _relative_positions(query: Tensor, key: Tensor) -> Tensor:
    """Return j − i (queries, keys); the first query has position 0."""
    import torch

    keys = torch.arange(key.shape[2], device=key.device)
    return keys.unsqueeze(0) - torch.arange(query.shape[2], device=key.device).unsqueeze(1)
