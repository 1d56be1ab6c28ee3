"""Post-norm layers: attention, add, norm, feed-forward, add, norm (Vaswani et al. 2017; Devlin et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.models.blocks import Block
from autocompress.models.layer_parts import LayerParts

if TYPE_CHECKING:
    from torch import Tensor


class PostNorm(Block):
    """Each norm follows the sum that it normalizes."""

    def after_attention(self, parts: LayerParts, total: Tensor) -> Tensor:
        normalized: Tensor = parts.attention_norm(total)
        return normalized

    def after_ffn(self, parts: LayerParts, total: Tensor) -> Tensor:
        normalized: Tensor = parts.ffn_norm(total)
        return normalized

    def take_over(self, parts: LayerParts, source: LayerParts) -> None:
        """Copy the last norm: the sum before it is what least squares fits."""
        parts.ffn_norm.load_state_dict(source.ffn_norm.state_dict())


BLOCK = PostNorm()
