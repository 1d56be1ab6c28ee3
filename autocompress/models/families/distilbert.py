"""DistilBERT (Sanh et al. 2019): it has no token types and another classification head."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from autocompress.models.families import EmbeddingParts, LayerParts

MODEL_TYPES = ("distilbert",)
POSITIONS_FOLLOW_PADDING = False  # whether the first token's position is `pad_token_id + 1`


def layers(model: Any) -> nn.ModuleList:
    """Return the encoder layers, first to last."""
    return cast(nn.ModuleList, model.distilbert.transformer.layer)


def parts(layer: Any) -> LayerParts:
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


def embeddings(model: Any) -> EmbeddingParts:
    """Return the embedding modules."""
    tables = model.distilbert.embeddings
    return EmbeddingParts(
        word=tables.word_embeddings,
        position=tables.position_embeddings,
        first_position=0,
        token_type=None,
        norm=tables.LayerNorm,
        projection=None,
    )


def classify(model: Any, hidden: Tensor) -> Tensor:
    """Return logits (batch, labels) of the last hidden states (batch, ≥ 1, hidden); only position 0 is read."""
    first = torch.relu(model.pre_classifier(hidden[:, 0]))
    return cast(Tensor, model.classifier(model.dropout(first)))
