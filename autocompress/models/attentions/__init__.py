"""Attention variants, one file each, reached through transformers' own two attention registries.

Both registries are needed: a name that only `AttentionInterface` contains gets no mask at all, even for padded input.

A file defines:
  `NEEDS_WINDOW`, whether `config.attention_window` must be set;
  `DYNAMIC_LENGTH`, whether one traced PyTorch program serves every length;
  `attend(module, query, key, value, attention_mask, scaling, dropout)`, from query `(batch, heads, queries, head_dim)`
  and key and value `(batch, heads, keys, head_dim)` to output `(batch, queries, heads, head_dim)`;
  `mask(..., attention_mask, dtype)`, from the tokenizer's keep-mask `(batch, keys)` to the mask that `attend` reads.
Rules for every variant, which the tests check:
  it reads the number of heads from the tensors, never from the config (sliced layers differ);
  `queries` may be 1 (the [CLS] token at position 0) with many keys: the last layer computes only [CLS];
  `attend(query, scaling=s)` equals `attend(query * s, scaling=1.0)`, so that an exporter may fold s into the weights;
  the output is finite everywhere; padding, which is on the right, does not change the outputs of tokens;
  a file imports only torch and, with a leading dot, files of this folder: an exported folder holds copies of them.
"""

from __future__ import annotations

from autocompress.core import registry


def register_attentions() -> None:
    """Register every variant in transformers under `implementation_name(name)`. A second call changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    for name in registry.names("attentions"):
        variant = registry.load("attentions", name)
        AttentionInterface.register(implementation_name(name), variant.attend)
        AttentionMaskInterface.register(implementation_name(name), variant.mask)


def implementation_name(name: str) -> str:
    """Return the name of a variant in transformers: the value of `attn_implementation`."""
    return f"autocompress_{name}"
