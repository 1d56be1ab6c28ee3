"""Efficient attention: softmax over each query's features and over the keys; cost linear in length (Shen et al. 2021).

Each feature of the keys is a distribution over the text, by which values are averaged once; a query mixes these averages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._attention import Attention
from ._masking import MASKED
from ._scaling import scale_query
from .full import attend as attend_to_all

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Compute softmax(query) · (softmax(key)ᵀ · value): the first one over features, the second one over keys.

    `attention_mask` is additive, `(batch, 1, keys, 1)`, as `mask` returns it. There are no weights to drop.
    """
    if sliding_window is not None:
        additive = None if attention_mask is None else attention_mask.transpose(2, 3)
        return attend_to_all(
            module, query, key, value, additive, scaling=scaling, dropout=dropout, sliding_window=sliding_window
        )
    features = scale_query(query, scaling).float().softmax(dim=-1)
    scores = key.float() if attention_mask is None else key.float() + attention_mask
    averages = scores.softmax(dim=2).transpose(2, 3) @ value.float()  # (batch, heads, head_dim, head_dim)
    return (features @ averages).to(query.dtype).transpose(1, 2).contiguous(), None


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *,
    attention_mask: Tensor | None = None,
    dtype: torch.dtype | None = None,
    **kwargs: object,
) -> Tensor | None:
    """Convert the keep-mask `(batch, keys)` to an additive mask `(batch, 1, keys, 1)`: 0 for tokens, MASKED for padding."""
    import torch

    if attention_mask is None:
        return None
    return ((attention_mask.to(dtype or torch.float32) - 1.0) * -MASKED).unsqueeze(1).unsqueeze(3)


ATTENTION = Attention(attend, mask, excludes=("relative position bias",))
