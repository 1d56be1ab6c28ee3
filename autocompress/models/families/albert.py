"""ALBERT (Lan et al. 2020): one layer runs many times, and a projection widens its narrow embeddings to the hidden size.

Depth is how often the layer runs; its heads and neurons are removed once, for all of its uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autocompress.core.errors import UsageError
from autocompress.models.families import EmbeddingParts, Family
from autocompress.models.heads import TOKENS, Head
from autocompress.models.layer_parts import LayerParts
from autocompress.models.model_types import Model

if TYPE_CHECKING:
    from torch import Tensor, nn

SINGLE = ("num_hidden_groups", "inner_group_num")  # keys of the config that must be 1


def _layers(model: Model) -> nn.ModuleList:
    modules: nn.ModuleList = model.base_model.encoder.albert_layer_groups[0].albert_layers
    return modules


def _read_layer(model: Model, layer: Model) -> LayerParts:
    attention = layer.attention
    return LayerParts(
        query=attention.query,
        key=attention.key,
        value=attention.value,
        output=attention.dense,
        attention_norm=attention.LayerNorm,
        ffn_in=layer.ffn,
        activation=layer.activation,
        ffn_out=layer.ffn_output,
        ffn_norm=layer.full_layer_layer_norm,
        head_size=attention.attention_head_size,
    )


def _embeddings(model: Model) -> EmbeddingParts:
    tables = model.base_model.embeddings
    return EmbeddingParts(
        word=tables.word_embeddings,
        position=tables.position_embeddings,
        first_position=0,
        token_type=tables.token_type_embeddings,
        norm=tables.LayerNorm,
        projection=model.base_model.encoder.embedding_hidden_mapping_in,
    )


def _classify(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (batch, labels) of the pooled position 0."""
    pooled = model.albert.pooler_activation(model.albert.pooler(hidden[:, 0]))
    logits: Tensor = model.classifier(model.dropout(pooled))
    return logits


def _check(values: Mapping[str, object], place: str) -> None:
    """Refuse models of several layers that alternate: their heads and neurons would be those of groups."""
    for key in SINGLE:
        if values.get(key, 1) != 1:
            raise UsageError(
                f"{place}: {key} is {values[key]}; ALBERT is supported where it is 1, as in all released models"
            )


FAMILY = Family(
    model_types=("albert",),
    block="post_norm",
    layers=_layers,
    read_layer=_read_layer,
    embeddings=_embeddings,
    heads={"ForSequenceClassification": Head(_classify, first_only=True), "ForTokenClassification": TOKENS},
    shares_layers=True,
    check=_check,
)
