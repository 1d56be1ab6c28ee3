"""Full softmax attention: every token attends to every token; cost quadratic in length.

Long texts, and all texts on a GPU, use torch's fused kernel in training. Short texts on a CPU use plain operators: there the
fused kernel takes 9 times as long at 16 tokens (forward and backward), 5 times at 64, and less time only at 512. The export
always uses plain operators: the exporter would multiply both query and key of the fused kernel by a scale, even by 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._attention import Attention
from ._masking import MASKED, add_position_bias, mask_outside_band
from ._scaling import scale_query

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PLAIN_TOKENS = 256  # the longest text for which a CPU is faster without the fused kernel


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    sliding_window: int | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Compute softmax(query · keyᵀ · scaling + mask) · value (Vaswani et al. 2017).

    `attention_mask` is additive, `(batch, 1, 1, keys)`, as `mask` returns it; None masks no key. The band of a sliding
    window and the bias of relative positions are added to it.
    """
    import torch
    from torch.nn import functional as F

    if sliding_window is not None:
        attention_mask = mask_outside_band(attention_mask, query, key, sliding_window - 1)
    if position_bias is not None:
        attention_mask = add_position_bias(attention_mask, query, key, position_bias)
    short = query.device.type == "cpu" and key.shape[2] <= PLAIN_TOKENS
    if torch.onnx.is_in_onnx_export() or short or position_bias is not None:
        output = _attend_plainly(scale_query(query, scaling), key, value, attention_mask, dropout)
    else:
        output = F.scaled_dot_product_attention(query, key, value, attention_mask, dropout, scale=scaling)
    return output.transpose(1, 2).contiguous(), None


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *,
    attention_mask: Tensor | None = None,
    dtype: torch.dtype | None = None,
    **kwargs: object,
) -> Tensor | None:
    """Convert the keep-mask `(batch, keys)` to an additive mask `(batch, 1, 1, keys)`: 0 for tokens, MASKED for padding."""
    import torch

    if attention_mask is None:
        return None
    return ((attention_mask.to(dtype or torch.float32) - 1.0) * -MASKED).unsqueeze(1).unsqueeze(1)


def _attend_plainly(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float) -> Tensor:
    from torch.nn import functional as F

    scores = query @ key.transpose(2, 3)  # (batch, heads, queries, keys)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1)
    if weights.dtype != value.dtype:
        weights = weights.to(value.dtype)  # a float32 mask has widened bfloat16 scores
    return (F.dropout(weights, dropout) if dropout else weights) @ value


ATTENTION = Attention(attend, mask)
