"""Pre-norm layers: norm, attention, add, norm, feed-forward, add (Xiong et al. 2020); gated neurons (Shazeer 2020) or plain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.models.blocks import Block
from autocompress.models.layer_parts import LayerParts

if TYPE_CHECKING:
    from torch import Tensor


class PreNorm(Block):
    """Each norm precedes attention or feed-forward.

    The residual stream is never normalized within a layer: a fitted sum is the layer's output, and no norm is taken over.
    """

    def attention_input(self, parts: LayerParts, hidden: Tensor) -> Tensor:
        normalized: Tensor = parts.attention_norm(hidden)
        return normalized

    def inner(self, parts: LayerParts, hidden: Tensor) -> Tensor:
        return super().inner(parts, parts.ffn_norm(hidden))


BLOCK = PreNorm()
