"""Full softmax attention: every token attends to every token; cost quadratic in length.

Long texts, and all texts on a GPU, use torch's fused kernel in training. Short texts on a CPU use plain operators: there the
fused kernel takes 9 times as long at 16 tokens (forward and backward), 5 times at 64, and less time only at 512. The export
always uses plain operators: the exporter would multiply both query and key of the fused kernel by a scale, even by 1.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._scaling import scale_query

NEEDS_WINDOW = False
DYNAMIC_LENGTH = True
PLAIN_TOKENS = 256  # the longest text for which a CPU is faster without the fused kernel

# Added to the score of a masked key, as in BERT's own code: exp(-10,000) is 0 in every float type. Unlike the minimum of
# the type, it stays finite when cast to bfloat16 or float16, so that no row becomes NaN.
MASKED = -1e4


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute softmax(query · keyᵀ · scaling + mask) · value (Vaswani et al. 2017).

    `attention_mask` is additive, `(batch, 1, 1, keys)`, as `mask` returns it; None masks no key.
    """
    short = query.device.type == "cpu" and key.shape[2] <= PLAIN_TOKENS
    if torch.onnx.is_in_onnx_export() or short:
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
    dtype: torch.dtype = torch.float32,
    **kwargs: Any,
) -> Tensor | None:
    """Convert the keep-mask `(batch, keys)` to an additive mask `(batch, 1, 1, keys)`: 0 for tokens, MASKED for padding."""
    if attention_mask is None:
        return None
    return ((attention_mask.to(dtype) - 1.0) * -MASKED).unsqueeze(1).unsqueeze(1)


def _attend_plainly(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float) -> Tensor:
    scores = query @ key.transpose(2, 3)  # (batch, heads, queries, keys)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1)
    if weights.dtype != value.dtype:
        weights = weights.to(value.dtype)  # a float32 mask has widened bfloat16 scores
    return (F.dropout(weights, dropout) if dropout else weights) @ value
