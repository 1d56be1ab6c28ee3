"""DistilBERT (Sanh et al. 2019): it has no token types and another classification head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.models.families import EmbeddingParts, Family
from autocompress.models.heads import TOKENS, Head
from autocompress.models.layer_parts import LayerParts
from autocompress.models.model_types import Model

if TYPE_CHECKING:
    from torch import Tensor, nn


def _layers(model: Model) -> nn.ModuleList:
    """Return the encoder layers, first to last."""
    modules: nn.ModuleList = model.base_model.transformer.layer
    return modules


def _read_layer(model: Model, layer: Model) -> LayerParts:
    """Return the modules of one layer."""
    return LayerParts(
        query=layer.attention.q_lin,
        key=layer.attention.k_lin,
        value=layer.attention.v_lin,
        output=layer.attention.out_lin,
        attention_norm=layer.sa_layer_norm,
        ffn_in=layer.ffn.lin1,
        activation=layer.ffn.activation,
        ffn_out=layer.ffn.lin2,
        ffn_norm=layer.output_layer_norm,
        head_size=layer.attention.attention_head_size,
    )


def _embeddings(model: Model) -> EmbeddingParts:
    """Return the embedding modules."""
    tables = model.base_model.embeddings
    return EmbeddingParts(
        word=tables.word_embeddings,
        position=tables.position_embeddings,
        first_position=0,
        token_type=None,
        norm=tables.LayerNorm,
        projection=None,
    )


def _classify(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (batch, labels) of position 0."""
    first = model.pre_classifier(hidden[:, 0]).relu()
    logits: Tensor = model.classifier(model.dropout(first))
    return logits


FAMILY = Family(
    model_types=("distilbert",),
    block="post_norm",
    layers=_layers,
    read_layer=_read_layer,
    embeddings=_embeddings,
    heads={"ForSequenceClassification": Head(_classify, first_only=True), "ForTokenClassification": TOKENS},
)
