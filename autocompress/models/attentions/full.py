"""Full softmax attention: every token attends to every token; cost quadratic in length.

Long texts, and all on a GPU, train through torch's fused kernel. Short ones on a CPU train by the plain operators, as the
fused kernel takes 9 times as long, forward and backward, at 16 tokens, 5 at 64, and less only at 512. Both export as the plain
operators: the exporter's own rendering of the fused kernel multiplies both query and key by a scale, even where that is 1.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._scaling import scaled

NEEDS_WINDOW = False
FREE_SIZES = True
PLAIN_TOKENS = 256  # the longest text for which a CPU is faster without the fused kernel

# Added to the score of a key that must not be seen, as in BERT's own code: exp(-10,000) is 0 in every float type, and
# unlike the type's minimum it stays finite when cast to bfloat16 or float16, so that no row can become NaN.
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
    """softmax(query · keyᵀ · scaling + mask) · value (Vaswani et al. 2017).

    `attention_mask` is what `mask` gives: additive, `(batch, 1, 1, keys)`; None sees every key.
    """
    short = query.device.type == "cpu" and key.shape[2] <= PLAIN_TOKENS
    if torch.onnx.is_in_onnx_export() or short:
        output = _plain(scaled(query, scaling), key, value, attention_mask, dropout)
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
    """From the keep-mask `(batch, keys)`, an additive one `(batch, 1, 1, keys)`: 0 for a token, MASKED for padding."""
    if attention_mask is None:
        return None
    return ((attention_mask.to(dtype) - 1.0) * -MASKED).unsqueeze(1).unsqueeze(1)


def _plain(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float) -> Tensor:
    scores = query @ key.transpose(2, 3)  # (batch, heads, queries, keys)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1)
    if weights.dtype != value.dtype:
        weights = weights.to(value.dtype)  # a float32 mask has widened bfloat16 scores
    return (F.dropout(weights, dropout) if dropout else weights) @ value
