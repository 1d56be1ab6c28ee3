"""The modules of BERT, RoBERTa and ELECTRA, which have the same names within different base models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.models.families import EmbeddingParts
from autocompress.models.layer_parts import LayerParts
from autocompress.models.model_types import Model

if TYPE_CHECKING:
    from torch import Tensor, nn


def layers(model: Model) -> nn.ModuleList:
    """Return the encoder layers, first to last."""
    modules: nn.ModuleList = model.base_model.encoder.layer
    return modules


def read_layer(model: Model, layer: Model) -> LayerParts:
    """Return the modules of one layer."""
    attention = layer.attention
    return LayerParts(
        query=attention.self.query,
        key=attention.self.key,
        value=attention.self.value,
        output=attention.output.dense,
        attention_norm=attention.output.LayerNorm,
        ffn_in=layer.intermediate.dense,
        activation=layer.intermediate.intermediate_act_fn,
        ffn_out=layer.output.dense,
        ffn_norm=layer.output.LayerNorm,
        head_size=attention.self.attention_head_size,
    )


def embeddings(model: Model, first_position: int = 0) -> EmbeddingParts:
    """Return the embedding modules, with a projection where the model has one."""
    tables = model.base_model.embeddings
    return EmbeddingParts(
        word=tables.word_embeddings,
        position=tables.position_embeddings,
        first_position=first_position,
        token_type=tables.token_type_embeddings,
        norm=tables.LayerNorm,
        projection=getattr(model.base_model, "embeddings_project", None),
    )


def classify(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (batch, labels) by a classifier that reads position 0 itself."""
    logits: Tensor = model.classifier(hidden)
    return logits
