"""Linear attention by the feature map elu(x) + 1 instead of softmax; cost linear in length (Katharopoulos et al. 2020).

softmax(q · k) is replaced by φ(q) · φ(k), whose sum over the keys can be taken before any query is known: all keys
and values shrink to one `(head_dim, head_dim)` matrix per head.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._scaling import scaled

NEEDS_WINDOW = False
FREE_SIZES = True

# Least sum of weights to divide by: met only where every key is padding or every feature has underflowed.
LEAST_WEIGHT = 1e-6


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
    """φ(query) · Σ φ(key) valueᵀ ÷ φ(query) · Σ φ(key), sums over the kept keys.

    `attention_mask` is what `mask` gives: `(batch, 1, keys, 1)`, 1 keeps a key. The paper does not scale; here the
    query is scaled before φ all the same, since q·s is what the teacher's softmax compared with k, and since a scale
    folded into the query weights must mean the same in every variant. `dropout` is not applied: it drops entries of
    the table of weights, which never exists here.
    """
    query_features = _features(scaled(query, scaling))
    key_features = _features(key)
    if attention_mask is not None:
        key_features = key_features * attention_mask
    summary = key_features.transpose(2, 3) @ value.to(key_features.dtype)  # (batch, heads, head_dim, head_dim)
    total = key_features.sum(dim=2).unsqueeze(3)  # (batch, heads, head_dim, 1)
    output = (query_features @ summary) / (query_features @ total).clamp(min=LEAST_WEIGHT)
    return output.to(query.dtype).transpose(1, 2).contiguous(), None


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *,
    attention_mask: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    **kwargs: Any,
) -> Tensor | None:
    """From the keep-mask `(batch, keys)`, a factor `(batch, 1, keys, 1)`: 1 for a token, 0 for padding."""
    return None if attention_mask is None else attention_mask.to(dtype).unsqueeze(1).unsqueeze(3)


def _features(states: Tensor) -> Tensor:
    """φ(x) = elu(x) + 1 > 0, in float32: in bfloat16 the sum cancels to 0 below about -6, and the weights with it."""
    return F.elu(states.float()) + 1.0
