"""The type of an attention variant. Exported folders hold copies of this file: it imports nothing but what it must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Attention:
    """An attention variant: its two functions, as transformers calls them, and what they need.

    `attend(module, query, key, value, attention_mask, *, scaling, dropout, position_bias, sliding_window)` maps query
    (batch, heads, queries, head size), key and value (batch, heads, keys, head size) to (batch, queries, heads, head size).
    `position_bias` (1, heads, 2 × positions − 1) is added to the scores: column `positions − 1 + j − i` to that of query i
    and key j. `sliding_window` marks a layer with local attention of its own, |i − j| < sliding_window, which no variant
    replaces. `mask(..., attention_mask, dtype)` maps the keep-mask (batch, keys) to the mask that `attend` reads.
    """

    attend: Callable[..., tuple[Tensor, None]]
    mask: Callable[..., Tensor | None]
    needs_window: bool = False  # whether `config.attention_window` must be set
    dynamic_length: bool = True  # whether one traced PyTorch program serves every length
    excludes: tuple[str, ...] = ()  # features of a family with which it is undefined, as `Family.features` names them
