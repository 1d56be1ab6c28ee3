"""The modules of BERT, RoBERTa and ELECTRA, which have the same names within different base models."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from autocompress.models.families import EmbeddingParts, LayerParts


def layers(base: Any) -> nn.ModuleList:
    """Return the encoder layers of a base model, first to last."""
    return cast(nn.ModuleList, base.encoder.layer)


def parts(layer: Any) -> LayerParts:
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


def embeddings(base: Any, first_position: int = 0) -> EmbeddingParts:
    """Return the embedding modules of a base model."""
    tables = base.embeddings
    return EmbeddingParts(
        word=tables.word_embeddings,
        position=tables.position_embeddings,
        first_position=first_position,
        token_type=tables.token_type_embeddings,
        norm=tables.LayerNorm,
        projection=getattr(base, "embeddings_project", None),
    )
