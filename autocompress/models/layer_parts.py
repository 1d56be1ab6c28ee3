"""The parts of one encoder layer, whatever its family: what is sliced, gated, fitted and exported. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class Affine(Protocol):
    """A linear map with or without a bias: an `nn.Linear`, or a part of one."""

    @property
    def weight(self) -> Tensor: ...  # (outputs, inputs)
    @property
    def bias(self) -> Tensor | None: ...  # (outputs,)
    @property
    def out_features(self) -> int: ...
    def __call__(self, x: Tensor, /) -> Tensor: ...


class HeadColumns(Protocol):
    """A module that records which columns of a shared table belong to the heads that its layer keeps."""

    bias_heads: list[int]


@dataclass(frozen=True)
class RelativeBias:
    """A term that is added to the score of query i and key j and depends on j − i: a row of a table that all layers share."""

    table: nn.Embedding  # (buckets, heads of the whole layer)
    bucket: Callable[[Tensor], Tensor]  # relative positions j − i -> rows of the table
    columns: tuple[int, ...]  # of this layer's heads
    module: HeadColumns  # records the columns when heads are sliced


@dataclass(frozen=True)
class Rotary:
    """Rotary positions (Su et al. 2021): pairs of a head's values are rotated by angles that grow with the position."""

    frequencies: Tensor  # (head size ÷ 2,) radians per position
    scale: float  # of cosine and sine


@dataclass(frozen=True)
class LayerParts:
    """The modules of one encoder layer.

    A head is rows of query, key and value, and columns of output. A neuron is a row of ffn_in (and of ffn_gate) and a
    column of ffn_out.
    """

    query: Affine  # (heads × head size, hidden)
    key: Affine
    value: Affine
    output: Affine  # (hidden, heads × head size)
    attention_norm: nn.Module  # before or after attention, as the block says; an identity where there is none
    ffn_in: Affine  # (neurons, hidden)
    activation: Callable[[Tensor], Tensor]
    ffn_out: Affine  # (hidden, neurons)
    ffn_norm: nn.Module
    head_size: int
    ffn_gate: Affine | None = None  # (neurons, hidden): a factor on each activated neuron
    window: int | None = None  # the layer's own local attention: position i reads j where |i − j| <= window
    rotary: Rotary | None = None
    bias: RelativeBias | None = None

    @property
    def heads(self) -> int:
        """Return the number of heads of this layer."""
        return self.query.out_features // self.head_size

    @property
    def neurons(self) -> int:
        """Return the number of feed-forward neurons of this layer."""
        return self.ffn_in.out_features
