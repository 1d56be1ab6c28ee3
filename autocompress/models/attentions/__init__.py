"""Attention variants, one file each, reached through transformers' own two attention registries.

Both registries are needed: a name that only `AttentionInterface` contains gets no mask at all, even for padded input.

A file exports `ATTENTION`, an instance of `Attention`. Rules for every variant, which the tests check:
  it reads the number of heads from the tensors, never from the config (sliced layers differ);
  `queries` may be 1 (the [CLS] token at position 0) with many keys: the last layer computes only [CLS];
  `attend(query, scaling=s)` equals `attend(query * s, scaling=1.0)`, so that an exporter may fold s into the weights;
  the output is finite everywhere; padding, which is on the right, does not change the outputs of tokens;
  a layer with a `sliding_window` keeps its own local attention, which `full` computes;
  a file imports only torch, inside its functions, and, with a leading dot, files of this folder: an exported folder holds
  copies of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from autocompress.core.errors import UsageError
from autocompress.core.registry import Registry
from autocompress.models.attentions._attention import Attention
from autocompress.models.model_types import Config, Model

ATTENTIONS = Registry("attentions", "ATTENTION", Attention)


def register_attentions() -> None:
    """Register every variant in transformers under `implementation_name(name)`. A second call changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    for name, variant in ATTENTIONS.entries().items():
        AttentionInterface.register(implementation_name(name), variant.attend)
        AttentionMaskInterface.register(implementation_name(name), variant.mask)


def implementation_name(name: str) -> str:
    """Return the name of a variant in transformers: the value of `attn_implementation`."""
    return f"autocompress_{name}"


def check_features(name: str, features: Sequence[str], place: str) -> None:
    """Raise UsageError where a variant is undefined with a feature of a family; `place` begins the message."""
    for feature in features:
        if feature in ATTENTIONS.load(name).excludes:
            raise UsageError(
                f"{place}: {name} attention is undefined with the {feature} of this family; remove {name!r}"
            )


def set_attention(model: Model, name: str) -> None:
    """Make every layer of a model use a variant, except for layers with local attention of their own."""
    register_attentions()
    model.config._attn_implementation = implementation_name(name)


def read_attention_name(config: Config) -> str:
    """Return the name of the attention variant of a model; transformers' own implementations all count as `full`."""
    configured = getattr(config, "_attn_implementation", None)
    return next((name for name in ATTENTIONS.names() if implementation_name(name) == configured), "full")
