"""Nomic BERT (Nussbaum et al. 2024): gated post-norm layers without biases, rotary positions, token types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autocompress.core.errors import UsageError
from autocompress.models.families import EmbeddingParts, Family
from autocompress.models.heads import TOKENS, Head
from autocompress.models.layer_parts import LayerParts, Rotary
from autocompress.models.model_types import Model

if TYPE_CHECKING:
    from torch import Tensor, nn


def _layers(model: Model) -> nn.ModuleList:
    layers: nn.ModuleList = model.base_model.layers
    return layers


def _read_layer(model: Model, layer: Model) -> LayerParts:
    attention, neurons, rotary = layer.self_attn, layer.mlp, model.base_model.rotary_emb
    return LayerParts(
        query=attention.q_proj,
        key=attention.k_proj,
        value=attention.v_proj,
        output=attention.o_proj,
        attention_norm=layer.post_attention_layernorm,
        ffn_in=neurons.gate_proj,
        ffn_gate=neurons.up_proj,
        activation=neurons.act_fn,
        ffn_out=neurons.down_proj,
        ffn_norm=layer.post_mlp_layernorm,
        head_size=attention.head_dim,
        rotary=Rotary(rotary.inv_freq, float(rotary.attention_scaling)),
    )


def _embeddings(model: Model) -> EmbeddingParts:
    tables = model.base_model.embeddings
    return EmbeddingParts(
        word=tables.word_embeddings,
        position=None,
        first_position=0,
        token_type=tables.token_type_embeddings,
        norm=tables.LayerNorm,
        projection=None,
    )


def _classify(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (batch, labels) of the pooled position 0."""
    logits: Tensor = model.classifier(model.dropout(model.nomic_bert.pooler(hidden)))
    return logits


def _check(values: Mapping[str, object], place: str) -> None:
    """Refuse rotary positions whose angles depend on the length of the text."""
    parameters = values.get("rope_parameters")
    kind = parameters.get("rope_type", "default") if isinstance(parameters, dict) else "default"
    if kind != "default":
        raise UsageError(f"{place}: rope_parameters.rope_type: {kind!r} is not supported; use a model with `default`")


FAMILY = Family(
    model_types=("nomic_bert",),
    block="gated_post_norm",
    layers=_layers,
    read_layer=_read_layer,
    embeddings=_embeddings,
    heads={"ForSequenceClassification": Head(_classify, first_only=True), "ForTokenClassification": TOKENS},
    check=_check,
)
