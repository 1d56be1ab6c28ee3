"""Post-norm layers whose neurons have gates: attention, add, norm, gated feed-forward, add, norm (Nussbaum et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.models.blocks import Block
from autocompress.models.layer_parts import LayerParts

if TYPE_CHECKING:
    from torch import Tensor


class GatedPostNorm(Block):
    """Each norm follows the sum that it normalizes; a second matrix multiplies the activated neurons (Shazeer 2020)."""

    def attention_input(self, parts: LayerParts, hidden: Tensor) -> Tensor:
        return hidden

    def after_attention(self, parts: LayerParts, total: Tensor) -> Tensor:
        normalized: Tensor = parts.attention_norm(total)
        return normalized

    def inner(self, parts: LayerParts, hidden: Tensor) -> Tensor:
        assert parts.ffn_gate is not None, "a family of this block names `ffn_gate`"
        return parts.activation(parts.ffn_in(hidden)) * parts.ffn_gate(hidden)

    def after_ffn(self, parts: LayerParts, total: Tensor) -> Tensor:
        normalized: Tensor = parts.ffn_norm(total)
        return normalized

    def take_over(self, parts: LayerParts, source: LayerParts) -> None:
        """Copy the last norm: the sum before it is what least squares fits."""
        parts.ffn_norm.load_state_dict(source.ffn_norm.state_dict())


BLOCK = GatedPostNorm()
