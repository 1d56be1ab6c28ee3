"""ELECTRA (Clark et al. 2020): a projection widens its narrower embeddings to the hidden size."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from autocompress.models.families import EmbeddingParts, LayerParts, _bert_like

MODEL_TYPES = ("electra",)
POSITIONS_FOLLOW_PADDING = False  # whether the first token's position is `pad_token_id + 1`


def layers(model: Any) -> nn.ModuleList:
    """Return the encoder layers, first to last."""
    return _bert_like.layers(model.electra)


def parts(layer: Any) -> LayerParts:
    """Return the modules of one layer."""
    return _bert_like.parts(layer)


def embeddings(model: Any) -> EmbeddingParts:
    """Return the embedding modules, with the projection where the model has one."""
    return _bert_like.embeddings(model.electra)


def classify(model: Any, hidden: Tensor) -> Tensor:
    """Return logits (batch, labels) of the last hidden states (batch, ≥ 1, hidden); only position 0 is read."""
    return cast(Tensor, model.classifier(hidden))
