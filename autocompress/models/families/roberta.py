"""RoBERTa (Liu et al. 2019) and XLM-RoBERTa: positions start after the padding index."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from autocompress.models.families import EmbeddingParts, LayerParts, _bert_like

MODEL_TYPES = ("roberta", "xlm-roberta")
POSITIONS_FOLLOW_PADDING = True  # whether the first token's position is `pad_token_id + 1`


def layers(model: Any) -> nn.ModuleList:
    """Return the encoder layers, first to last."""
    return _bert_like.layers(model.roberta)


def parts(layer: Any) -> LayerParts:
    """Return the modules of one layer."""
    return _bert_like.parts(layer)


def embeddings(model: Any) -> EmbeddingParts:
    """Return the embedding modules; with padding on the right, token i has position `pad_token_id + 1 + i`."""
    return _bert_like.embeddings(model.roberta, first_position=model.config.pad_token_id + 1)


def classify(model: Any, hidden: Tensor) -> Tensor:
    """Return logits (batch, labels) of the last hidden states (batch, ≥ 1, hidden); only position 0 is read."""
    return cast(Tensor, model.classifier(hidden))
