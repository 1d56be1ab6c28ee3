"""Attention variants, one file each, reached through transformers' own two attention registries.

Both registries are needed: a name that only `AttentionInterface` knows gets no mask at all, even for padded input.

What a file offers:
  `NEEDS_WINDOW`, whether `config.attention_window` must be set;
  `FREE_SIZES`, whether one traced PyTorch program serves every length;
  `attend(module, query, key, value, attention_mask, scaling, dropout)`, from query `(batch, heads, queries, head_dim)`
  and key and value `(batch, heads, keys, head_dim)` to output `(batch, queries, heads, head_dim)`;
  `mask(..., attention_mask, dtype)`, from the tokenizer's keep-mask `(batch, keys)` to what this `attend` wants.
Rules every variant keeps, held by the tests:
  heads are read from the tensors, never from the config (sliced layers differ);
  `queries` may be 1, the [CLS] token at position 0, while keys are many (a last layer that computes only [CLS]);
  `attend(query, scaling=s)` equals `attend(query * s, scaling=1.0)`, so that an exporter may fold s into the weights;
  the output is finite everywhere, and real tokens do not feel padding, which is on the right;
  a file imports torch and, with a leading dot, its neighbours, and no more: an exported folder holds a copy of it.
"""

from __future__ import annotations

from autocompress.core import registry


def register() -> None:
    """Make every variant known to transformers under `implementation(name)`; calling it again changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    for name in registry.names("attentions"):
        variant = registry.load("attentions", name)
        AttentionInterface.register(implementation(name), variant.attend)
        AttentionMaskInterface.register(implementation(name), variant.mask)


def implementation(name: str) -> str:
    """What transformers calls a variant: the value for `attn_implementation`."""
    return f"autocompress_{name}"
