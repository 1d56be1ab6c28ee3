"""One file per model family: where its layers, heads, neurons, embeddings and classification head live.

A family file offers `MODEL_TYPES` (transformers' `model_type` values), `layers(model)`, `parts(layer)`,
`embeddings(model)` and `classify(model, hidden)`. All families here share one layer form, the post-norm encoder:
attention, add, norm, feed-forward, add, norm (Vaswani et al. 2017; Devlin et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from autocompress.core import registry
from autocompress.models.model_config import check_family

if TYPE_CHECKING:
    from torch import Tensor, nn


class Affine(Protocol):
    """A linear map with a bias: an `nn.Linear`, or a part of one."""

    @property
    def weight(self) -> Tensor: ...  # (outputs, inputs)
    @property
    def bias(self) -> Tensor: ...  # (outputs,)
    @property
    def out_features(self) -> int: ...
    def __call__(self, x: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class LayerParts:
    """The modules of one encoder layer. Heads and neurons are rows of query, key, value and ffn_in, columns of output
    and ffn_out."""

    query: Affine  # (heads × head size, hidden)
    key: Affine
    value: Affine
    output: Affine  # (hidden, heads × head size)
    attention_norm: nn.LayerNorm
    ffn_in: Affine  # (neurons, hidden)
    activation: Callable[[Tensor], Tensor]
    ffn_out: Affine  # (hidden, neurons)
    ffn_norm: nn.LayerNorm
    head_size: int

    @property
    def heads(self) -> int:
        """Heads left in this layer."""
        return self.query.out_features // self.head_size

    @property
    def neurons(self) -> int:
        """FFN neurons left in this layer."""
        return self.ffn_in.out_features


@dataclass(frozen=True)
class EmbeddingParts:
    """The tables that turn token ids into the first hidden states: word + position (+ type), norm (, projection)."""

    word: nn.Embedding  # (vocabulary, embedding size)
    position: nn.Embedding  # (positions, embedding size)
    first_position: int  # row of the first token's position
    token_type: nn.Embedding | None
    norm: nn.LayerNorm
    projection: nn.Linear | None  # to the hidden size, where the tables are narrower


def family_of(model_type: str, place: str = "teacher.model") -> ModuleType:
    """The family file that knows this `model_type`; an unsupported one is an error that lists what there is."""
    return registry.load("families", check_family(model_type, place))
