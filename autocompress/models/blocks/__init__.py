"""One file per layer form: where its norms stand, and how it computes its inner neurons.

A layer of every form adds two terms to the residual stream: attention, and the feed-forward. `Block` holds what follows from
that: forward pass, slicing, the view of a super-net, the targets of least squares, and constant folding. A form's file
subclasses `Block` and exports an instance as `BLOCK`. Neither this file nor a form's imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from autocompress.core.registry import Registry
from autocompress.models.layer_parts import Affine, LayerParts

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LayerGates:
    """Factors on the heads (batch, heads) and neurons (batch, neurons) of one layer for each example."""

    heads: Tensor
    neurons: Tensor


class Block:
    """One layer form; this one has no norms. Hidden states are (batch, sequence, hidden)."""

    def attention_input(self, parts: LayerParts, hidden: Tensor) -> Tensor:
        """Return what query, key and value read of the layer's input."""
        return hidden

    def after_attention(self, parts: LayerParts, total: Tensor) -> Tensor:
        """Return the states after attention from the sum of the layer's input and the attention's output."""
        return total

    def inner(self, parts: LayerParts, hidden: Tensor) -> Tensor:
        """Return the activated neurons (batch, sequence, neurons) of the states after attention."""
        activated = parts.activation(parts.ffn_in(hidden))
        return activated if parts.ffn_gate is None else activated * parts.ffn_gate(hidden)

    def after_ffn(self, parts: LayerParts, total: Tensor) -> Tensor:
        """Return the layer's output from the sum of the states after attention and the feed-forward's output."""
        return total

    def take_over(self, parts: LayerParts, source: LayerParts) -> None:
        """Copy to a layer, in place, the norm that makes a fitted sum the output of the teacher's layer `source`."""

    def run(
        self,
        parts: LayerParts,
        hidden: Tensor,
        attend: Callable[[Tensor], Tensor],
        gates: LayerGates | None,
        dropout: Callable[[Tensor], Tensor],
        first_only: bool,
    ) -> Tensor:
        """Return the layer's output at all positions; with `first_only`, at position 0 alone.

        `attend` returns the context vectors (batch, queries, heads × head size) of what `attention_input` returns.
        """
        context = attend(self.attention_input(parts, hidden))
        if gates is not None:
            context = context * gates.heads.repeat_interleave(parts.head_size, dim=1)[:, None, :]
        attended = dropout(parts.output(context))
        hidden = self.after_attention(parts, (hidden[:, :1] if first_only else hidden) + attended)
        inner = self.inner(parts, hidden)
        if gates is not None:
            inner = inner * gates.neurons[:, None, :]
        return self.after_ffn(parts, hidden + dropout(parts.ffn_out(inner)))

    def keep_heads(self, parts: LayerParts, heads: np.ndarray) -> None:
        """Keep only these heads of a layer, in place, in this order."""
        import torch

        from autocompress.models.linear_maps import keep_columns, keep_rows

        size = parts.head_size
        rows = torch.as_tensor(np.concatenate([np.arange(h * size, (h + 1) * size) for h in heads]))
        keep_rows((parts.query, parts.key, parts.value), rows)
        keep_columns(parts.output, rows)
        if parts.bias is not None:
            parts.bias.module.bias_heads = [parts.bias.columns[head] for head in heads]

    def keep_neurons(self, parts: LayerParts, neurons: np.ndarray) -> None:
        """Keep only these feed-forward neurons of a layer, in place, in this order."""
        import torch

        from autocompress.models.linear_maps import keep_columns, keep_rows

        rows = torch.as_tensor(neurons)
        keep_rows([linear for linear in (parts.ffn_in, parts.ffn_gate) if linear is not None], rows)
        keep_columns(parts.ffn_out, rows)

    def view_first(self, parts: LayerParts, heads: int, neurons: int) -> LayerParts:
        """Return a view of the first heads and neurons of a layer, which shares its weights."""
        from autocompress.models.linear_maps import LinearSlice

        width = heads * parts.head_size
        return replace(
            parts,
            query=LinearSlice(parts.query, width),
            key=LinearSlice(parts.key, width),
            value=LinearSlice(parts.value, width),
            output=LinearSlice(parts.output, None, width),
            ffn_in=LinearSlice(parts.ffn_in, neurons),
            ffn_gate=None if parts.ffn_gate is None else LinearSlice(parts.ffn_gate, neurons),
            ffn_out=LinearSlice(parts.ffn_out, None, neurons),
            bias=None if parts.bias is None else replace(parts.bias, columns=parts.bias.columns[:heads]),
        )

    def fold(self, parts: LayerParts) -> LayerParts:
        """Return a layer for export: parts of a larger matrix become constants of their own."""
        from autocompress.models.linear_maps import ConstantLinear, LinearSlice

        def fold_slice(linear: Affine) -> Affine:
            return ConstantLinear(linear) if isinstance(linear, LinearSlice) else linear

        gate = None if parts.ffn_gate is None else fold_slice(parts.ffn_gate)
        return replace(parts, ffn_in=fold_slice(parts.ffn_in), ffn_gate=gate)


BLOCKS = Registry("blocks", "BLOCK", Block)
