"""What turns the last hidden states into a model's output: a classifier of the text or of each token, or pooling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autocompress.core.sentence_embedding import POOLING_KEY
from autocompress.models.model_types import Config, Model

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Head:
    """The function of a model's head, and which positions of the last hidden states it reads.

    `apply(model, hidden, attention_mask)` takes the model with its own head modules, hidden states
    (batch, positions, hidden) and the keep-mask (batch, sequence). It returns (batch, outputs) or
    (batch, sequence, outputs).
    """

    apply: Callable[[Model, Tensor, Tensor], Tensor]
    first_only: bool  # only position 0 is read: the last layer computes no other


def classify_tokens(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (batch, sequence, labels) by the classifier that most families share."""
    logits: Tensor = model.classifier(model.dropout(hidden))
    return logits


def average_tokens(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean (batch, hidden) of the states (batch, sequence, hidden) of the tokens that the mask keeps."""
    weights = attention_mask.to(hidden.dtype).unsqueeze(2)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def pool_mean(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean of the tokens' states (batch, hidden), of length 1 where the config asks for it."""
    return _scale(average_tokens(hidden, attention_mask), model.config)


def pool_first(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the state of position 0 (batch, hidden), of length 1 where the config asks for it."""
    return _scale(hidden[:, 0], model.config)


def _scale(pooled: Tensor, config: Config) -> Tensor:
    if not getattr(config, POOLING_KEY)["normalize"]:
        return pooled
    return pooled / pooled.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)


POOLING = {"mean": Head(pool_mean, first_only=False), "cls": Head(pool_first, first_only=True)}
TOKENS = Head(classify_tokens, first_only=False)
