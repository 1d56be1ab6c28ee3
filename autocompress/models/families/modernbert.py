"""ModernBERT (Warner et al. 2024): pre-norm layers, rotary positions, gated neurons, local attention in two of three layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autocompress.core.errors import UsageError
from autocompress.models import modernbert_adapter
from autocompress.models.families import Adapter, EmbeddingParts, Family
from autocompress.models.heads import Head, average_tokens
from autocompress.models.layer_parts import LayerParts, Rotary
from autocompress.models.model_types import Config, Model

if TYPE_CHECKING:
    from torch import Tensor, nn

FIXED_ROTATIONS = ("default", "linear", "yarn", "llama3")  # rope types whose angles do not depend on the text's length


def _read_layer(model: Model, layer: Model) -> LayerParts:
    """Return the parts of one layer: query, key and value are one matrix, neurons and their gates another."""
    from autocompress.models.linear_maps import LinearSlice

    joint, inner, rotary = layer.attn.Wqkv, layer.mlp.Wi, model.base_model.rotary_emb
    width, neurons, kind = joint.out_features // 3, inner.out_features // 2, layer.attention_type
    query, key, value = (LinearSlice(joint, width, first_row=index * width) for index in range(3))
    return LayerParts(
        query=query,
        key=key,
        value=value,
        output=layer.attn.Wo,
        attention_norm=layer.attn_norm,
        ffn_in=LinearSlice(inner, neurons),
        ffn_gate=LinearSlice(inner, neurons, first_row=neurons),
        activation=layer.mlp.act,
        ffn_out=layer.mlp.Wo,
        ffn_norm=layer.mlp_norm,
        head_size=layer.attn.head_dim,
        window=None if layer.attn.sliding_window is None else layer.attn.sliding_window - 1,
        rotary=Rotary(getattr(rotary, f"{kind}_inv_freq"), float(getattr(rotary, f"{kind}_attention_scaling"))),
    )


def _layers(model: Model) -> nn.ModuleList:
    modules: nn.ModuleList = model.base_model.layers
    return modules


def _embeddings(model: Model) -> EmbeddingParts:
    tables = model.base_model.embeddings
    return EmbeddingParts(
        word=tables.tok_embeddings, position=None, first_position=0, token_type=None, norm=tables.norm, projection=None
    )


def _final_norm(model: Model) -> nn.Module:
    norm: nn.Module = model.base_model.final_norm
    return norm


def _classify_tokens(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (…, labels) of states (…, hidden)."""
    logits: Tensor = model.classifier(model.drop(model.head(hidden)))
    return logits


def _classify_first(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (batch, labels) of position 0."""
    return _classify_tokens(model, hidden[:, 0], attention_mask)


def _classify_mean(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (batch, labels) of the mean of the tokens' states."""
    return _classify_tokens(model, average_tokens(hidden, attention_mask), attention_mask)


def _choose_head(config: Config) -> Head:
    is_mean = config.classifier_pooling == "mean"
    return Head(_classify_mean if is_mean else _classify_first, first_only=not is_mean)


def _check(values: Mapping[str, object], place: str) -> None:
    """Refuse rotary positions whose angles depend on the length of the text."""
    parameters = values.get("rope_parameters") or {}
    for kind, settings in parameters.items() if isinstance(parameters, dict) else ():
        rope_type = settings.get("rope_type", "default") if isinstance(settings, dict) else "default"
        if rope_type not in FIXED_ROTATIONS:
            raise UsageError(
                f"{place}: rope_parameters.{kind}.rope_type: {rope_type!r} is not supported; use a model with one of"
                f" {', '.join(FIXED_ROTATIONS)}"
            )


FAMILY = Family(
    model_types=("modernbert",),
    block="pre_norm",
    layers=_layers,
    read_layer=_read_layer,
    embeddings=_embeddings,
    heads={"ForSequenceClassification": _choose_head, "ForTokenClassification": Head(_classify_tokens, False)},
    final_norm=_final_norm,
    settings_per_layer=("layer_types",),
    adapter=Adapter(modernbert_adapter.describe, modernbert_adapter.adapt),
    check=_check,
)
