"""What ModernBERT's class in transformers lacks for fewer layers. An exported folder holds a copy of this file.

The class gives its first layer no norm before attention. Where the teacher's first layer was removed, the first one has a norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST_NORM = "first_norm"


def describe(model: Any) -> dict[str, object]:
    """Return whether the first layer has a norm before attention."""
    from torch import nn

    return {FIRST_NORM: isinstance(model.base_model.layers[0].attn_norm, nn.LayerNorm)}


def adapt(model: Any, facts: Mapping[str, object]) -> None:
    """Give the first layer a norm before attention where the facts say so; the state dict fills it later."""
    from torch import nn

    layer, config = model.base_model.layers[0], model.config
    if facts[FIRST_NORM] and not isinstance(layer.attn_norm, nn.LayerNorm):
        norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)
        layer.attn_norm = norm.to(layer.mlp_norm.weight.device, layer.mlp_norm.weight.dtype)
