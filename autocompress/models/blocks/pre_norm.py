"""Pre-norm layers: norm, attention, add, norm, feed-forward, add (Xiong et al. 2020); gated neurons (Shazeer 2020) or plain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.models.blocks import Block
from autocompress.models.layer_parts import LayerParts

if TYPE_CHECKING:
    from torch import Tensor


class PreNorm(Block):
    """Each norm precedes attention or feed-forward; the residual stream itself is never normalized within a layer."""

    def attention_input(self, parts: LayerParts, hidden: Tensor) -> Tensor:
        normalized: Tensor = parts.attention_norm(hidden)
        return normalized

    def after_attention(self, parts: LayerParts, total: Tensor) -> Tensor:
        return total

    def inner(self, parts: LayerParts, hidden: Tensor) -> Tensor:
        normalized = parts.ffn_norm(hidden)
        activated = parts.activation(parts.ffn_in(normalized))
        return activated if parts.ffn_gate is None else activated * parts.ffn_gate(normalized)

    def after_ffn(self, parts: LayerParts, total: Tensor) -> Tensor:
        return total

    def take_over(self, parts: LayerParts, source: LayerParts) -> None:
        """Copy nothing: a layer's output is the fitted sum itself."""


BLOCK = PreNorm()
