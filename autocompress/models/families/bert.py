"""BERT (Devlin et al. 2019) and models of the same architecture: MiniLM, TinyBERT, BGE and E5 encoders."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from autocompress.models.families import EmbeddingParts, LayerParts, _bert_like

MODEL_TYPES = ("bert",)
POSITIONS_FOLLOW_PADDING = False  # whether the first token's position is `pad_token_id + 1`


def layers(model: Any) -> nn.ModuleList:
    """Return the encoder layers, first to last."""
    return _bert_like.layers(model.bert)


def parts(layer: Any) -> LayerParts:
    """Return the modules of one layer."""
    return _bert_like.parts(layer)


def embeddings(model: Any) -> EmbeddingParts:
    """Return the embedding modules."""
    return _bert_like.embeddings(model.bert)


def classify(model: Any, hidden: Tensor) -> Tensor:
    """Return logits (batch, labels) of the last hidden states (batch, ≥ 1, hidden); only position 0 is read."""
    return cast(Tensor, model.classifier(model.dropout(model.bert.pooler(hidden))))
