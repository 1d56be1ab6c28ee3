"""Linear attention by the feature map elu(x) + 1 instead of softmax; cost linear in length (Katharopoulos et al. 2020).

softmax(q · k) is replaced by φ(q) · φ(k), whose sum over the keys can be taken before any query is known: all keys
and values shrink to one `(head_dim, head_dim)` matrix per head.
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

# The smallest divisor: the sum of weights falls below it only where every key is padding or every feature has underflowed.
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
    sliding_window: int | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Compute φ(query) · Σ φ(key) valueᵀ ÷ φ(query) · Σ φ(key); the sums go over the unmasked keys.

    `attention_mask` is `(batch, 1, keys, 1)`, as `mask` returns it; 1 keeps a key. The paper does not scale the query.
    This variant does: the teacher's softmax compared q·s with k, and a scale folded into the query weights must have the
    same effect in every variant. `dropout` is not applied, because there is no matrix of attention weights to drop from.
    """
    if sliding_window is not None:
        additive = None if attention_mask is None else (attention_mask.transpose(2, 3) - 1.0) * -MASKED
        return attend_to_all(
            module, query, key, value, additive, scaling=scaling, dropout=dropout, sliding_window=sliding_window
        )
    query_features = _map_features(scale_query(query, scaling))
    key_features = _map_features(key)
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
    dtype: torch.dtype | None = None,
    **kwargs: object,
) -> Tensor | None:
    """Convert the keep-mask `(batch, keys)` to a factor `(batch, 1, keys, 1)`: 1 for tokens, 0 for padding."""
    import torch

    return None if attention_mask is None else attention_mask.to(dtype or torch.float32).unsqueeze(1).unsqueeze(3)


def _map_features(states: Tensor) -> Tensor:
    """Compute φ(x) = elu(x) + 1 > 0 in float32: in bfloat16 the sum is 0 below about -6, and so are the weights."""
    from torch.nn import functional as F

    return F.elu(states.float()) + 1.0


ATTENTION = Attention(attend, mask, excludes=("relative position bias",))
