"""One file per model family: it locates layers, heads, neurons, embeddings and the head of a transformers model.

All families here share one layer form, the post-norm encoder: attention, add, norm, feed-forward, add, norm (Vaswani et al.
2017; Devlin et al. 2019). A file exports `FAMILY`, and imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from autocompress.core.errors import UsageError
from autocompress.core.registry import Registry
from autocompress.models.heads import POOLING, POOLING_KEY, Head

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


@dataclass(frozen=True)
class Family:
    """A map from a transformers model to its parts."""

    model_types: tuple[str, ...]  # transformers' `model_type` values
    layers: Callable[[Any], nn.ModuleList]  # of a model: its encoder layers, first to last
    parts: Callable[[nn.Module], LayerParts]  # of one layer
    embeddings: Callable[[Any], EmbeddingParts]  # of a model
    heads: Mapping[str, Head]  # suffix of a transformers class, e.g. ForSequenceClassification -> its head
    positions_follow_padding: bool = False  # whether the first token's position is `pad_token_id + 1`

    def head(self, model: Any) -> Head:
        """Return the head of a model; a base model's pooling stands in its config. UsageError where there is none."""
        name = type(model).__name__
        if (settings := getattr(model.config, POOLING_KEY, None)) and name.endswith("Model"):
            return POOLING[settings["pooling"]]
        head = next((head for suffix, head in self.heads.items() if name.endswith(suffix)), None)
        if head is None:
            raise UsageError(
                f"teacher.model: {name} has no head that this family supports; available: {', '.join(self.heads)}"
            )
        return head


FAMILIES = Registry("families", "FAMILY", Family)


def find_family_name(model_type: str, key_path: str) -> str:
    """Return the name of the family file that lists a `model_type`; UsageError where none does."""
    families = {supported: name for name, family in FAMILIES.entries().items() for supported in family.model_types}
    if model_type not in families:
        raise UsageError(
            f"{key_path}: the model family {model_type!r} is not supported; available: {', '.join(sorted(families))}"
            " (to add a family, add a file to autocompress/models/families)"
        )
    return families[model_type]


def load_family(model_type: str, key_path: str = "teacher.model") -> Family:
    """Load the family of a `model_type`; UsageError lists the available types where it is not supported."""
    return FAMILIES.load(find_family_name(model_type, key_path))
