"""ELECTRA (Clark et al. 2020): embedding tables narrower than the hidden states, joined by a projection."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from autocompress.models.families import EmbeddingParts, LayerParts, _post_norm

MODEL_TYPES = ("electra",)


def layers(model: Any) -> nn.ModuleList:
    """The encoder layers, first to last."""
    return _post_norm.layers(model.electra)


def parts(layer: Any) -> LayerParts:
    """The modules of one layer."""
    return _post_norm.parts(layer)


def embeddings(model: Any) -> EmbeddingParts:
    """The embedding tables and, where there is one, the projection behind them."""
    return _post_norm.embeddings(model.electra)


def classify(model: Any, hidden: Tensor) -> Tensor:
    """Logits (batch, labels) from the last hidden states (batch, ≥ 1, hidden); only position 0 is read."""
    return cast(Tensor, model.classifier(hidden))
