"""One file per model family: it locates layers, heads, neurons, embeddings and the classification head.

A family file defines `MODEL_TYPES` (transformers' `model_type` values), `POSITIONS_FOLLOW_PADDING`, `layers(model)`,
`parts(layer)`, `embeddings(model)` and `classify(model, hidden)`. All families here share one layer form, the post-norm
encoder: attention, add, norm, feed-forward, add, norm (Vaswani et al. 2017; Devlin et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from autocompress.core import registry
from autocompress.models.model_config import find_family_name

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
    """The modules of one encoder layer.

    A head is rows of query, key and value, and columns of output. A neuron is a row of ffn_in and a column of ffn_out.
    """

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
        """Return the number of heads of this layer."""
        return self.query.out_features // self.head_size

    @property
    def neurons(self) -> int:
        """Return the number of feed-forward neurons of this layer."""
        return self.ffn_in.out_features


@dataclass(frozen=True)
class EmbeddingParts:
    """The modules that turn token ids into the first hidden states: word + position (+ type), norm (, projection)."""

    word: nn.Embedding  # (vocabulary, embedding size)
    position: nn.Embedding  # (positions, embedding size)
    first_position: int  # row of the first token's position
    token_type: nn.Embedding | None
    norm: nn.LayerNorm
    projection: nn.Linear | None  # to the hidden size, where the tables are narrower


def load_family(model_type: str, key_path: str = "teacher.model") -> ModuleType:
    """Load the family file of a `model_type`; UsageError lists the available types where it is not supported."""
    return registry.load("families", find_family_name(model_type, key_path))
