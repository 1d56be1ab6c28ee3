"""What MPNet's class in transformers lacks for sliced layers. An exported folder holds a copy of this file.

The class adds a bias of relative positions for all heads, and knows one attention. `adapt` lets each layer add the columns of
the heads that it keeps, and call the attention that the config names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BIAS_HEADS = "bias_heads"
OWN_ATTENTIONS = "autocompress_"  # how the names of attentions begin that add a bias of relative positions themselves


def describe(model: Any) -> dict[str, object]:
    """Return the heads that each layer keeps, counted as in the whole model."""
    attentions = [layer.attention.attn for layer in model.base_model.encoder.layer]
    return {BIAS_HEADS: [list(getattr(a, BIAS_HEADS, range(a.num_attention_heads))) for a in attentions]}


def adapt(model: Any, facts: Mapping[str, Any]) -> None:
    """Replace the forward pass of each layer's attention, in place; its weights stay."""
    from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

    sliced = type("SlicedSelfAttention", (MPNetSelfAttention,), {"forward": attend})
    for layer, heads in zip(model.base_model.encoder.layer, facts[BIAS_HEADS], strict=True):
        attention = layer.attention.attn
        attention.__class__, attention.config, attention.bias_heads = sliced, model.config, list(heads)


def attend(
    self: Any, hidden_states: Any, attention_mask: Any = None, position_bias: Any = None, *inputs: Any, **kwargs: Any
) -> tuple[Any, ...]:
    """Compute self-attention of hidden states (batch, sequence, hidden); the bias is (batch, all heads, queries, keys)."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    shape, size = hidden_states.shape[:-1], self.attention_head_size
    query, key, value = (x(hidden_states).view(*shape, -1, size).transpose(1, 2) for x in (self.q, self.k, self.v))
    name, bias, scaling = self.config._attn_implementation, position_bias[:, self.bias_heads], size**-0.5
    dropout = self.dropout.p if self.training else 0.0
    if name.startswith(OWN_ATTENTIONS):
        variant, terms = ALL_ATTENTION_FUNCTIONS[name], _read_terms(bias)
        context, weights = variant(
            self, query, key, value, attention_mask, scaling=scaling, dropout=dropout, position_bias=terms
        )
    else:
        scores = query @ key.transpose(2, 3) * scaling + bias
        weights = self.dropout((scores if attention_mask is None else scores + attention_mask).softmax(-1))
        context = (weights @ value).transpose(1, 2)
    return self.o(context.reshape(*shape, -1)), weights


def _read_terms(bias: Any) -> Any:
    """Return the bias of each relative position (1, heads, 2 × length − 1) from the bias of each pair of positions."""
    import torch

    before, after = bias[:1, :, 1:, 0], bias[:1, :, 0]  # of keys before the query, and from it on
    return torch.cat([before.flip(2), after], dim=2)
