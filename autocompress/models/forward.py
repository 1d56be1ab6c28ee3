"""One forward pass for every family, used by training, importance and export.

It returns the logits of the transformers model (a test compares them) with less work: one product computes query, key and
value, a batch has one mask, and where the head reads only position 0, the last layer computes no other. The last saves almost
a third of a three-layer model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.core import registry
from autocompress.models import attentions
from autocompress.models.families import Affine, Family, LayerParts


@dataclass
class Gates:
    """Factors on the heads and neurons of layer i for each example: `heads[i]` (batch, heads), `neurons[i]` (batch, neurons).

    Their gradients are the importance of heads and neurons (Michel et al. 2019).
    """

    heads: list[Tensor] = field(default_factory=list)
    neurons: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Output:
    """The outputs and the hidden states after the embeddings and after each layer that ran."""

    logits: Tensor  # (batch, outputs), or (batch, sequence, outputs) where each token has its own
    # each (batch, sequence, hidden); the last one (batch, 1, hidden) where the head reads only position 0
    hidden: tuple[Tensor, ...]


class Forward:
    """The forward pass of one model. It refers to the model's weights and has none of its own."""

    def __init__(self, model: Any, family: Family, dropout: float = 0.0) -> None:
        self.model, self.family, self.dropout = model, family, dropout
        self.head = family.head(model)
        self.layers: Sequence[nn.Module] = list(family.layers(model))
        self.parts: list[LayerParts] = [family.parts(layer) for layer in self.layers]
        self.embeddings = family.embeddings(model)
        self.attention = registry.load("attentions", read_attention_name(model.config))

    def __call__(
        self,
        input_ids: Tensor,  # (batch, sequence)
        attention_mask: Tensor,  # (batch, sequence), 1 = token, 0 = padding
        token_type_ids: Tensor | None = None,
        *,
        gates: Gates | None = None,
        skip: frozenset[int] = frozenset(),  # layers left out of this pass
    ) -> Output:
        hidden = self._dropout(self.embed(input_ids, token_type_ids))
        mask = self.mask(attention_mask, hidden)
        states = [hidden]
        running = [index for index in range(len(self.parts)) if index not in skip]
        for index in running:
            first_only = self.head.first_only and index == running[-1]
            hidden = self._run_layer(index, hidden, mask, gates, first_only)
            states.append(hidden)
        return Output(self.head.apply(self.model, hidden, attention_mask), tuple(states))

    def run_batch(
        self, batch: Mapping[str, Tensor], gates: Gates | None = None, skip: frozenset[int] = frozenset()
    ) -> Output:
        """Run a batch of tensors by name; labels among them are not read."""
        return self(batch["input_ids"], batch["attention_mask"], batch.get("token_type_ids"), gates=gates, skip=skip)

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """Return the first hidden states (batch, sequence, hidden)."""
        tables = self.embeddings
        start = tables.first_position
        hidden = tables.word(input_ids) + tables.position.weight[start : start + input_ids.shape[1]]
        if tables.token_type is not None:
            types = tables.token_type.weight[0] if token_type_ids is None else tables.token_type(token_type_ids)
            hidden = hidden + types
        hidden = tables.norm(hidden)
        return cast(Tensor, hidden if tables.projection is None else tables.projection(hidden))

    def mask(self, attention_mask: Tensor, hidden: Tensor) -> Tensor | None:
        """Convert a keep-mask (batch, sequence) to the form that the attention variant reads, in the type of `hidden`."""
        batch, length = attention_mask.shape
        mask: Tensor | None = self.attention.mask(
            batch_size=batch,
            q_length=length,
            kv_length=length,
            attention_mask=attention_mask.bool(),
            dtype=hidden.dtype,
        )
        return mask

    def _run_layer(
        self, index: int, hidden: Tensor, mask: Tensor | None, gates: Gates | None, first_only: bool
    ) -> Tensor:
        parts = self.parts[index]
        context = self.attend(index, hidden, mask, first_only)  # (batch, queries, heads × head size)
        if gates is not None:
            context = context * gates.heads[index].repeat_interleave(parts.head_size, dim=1)[:, None, :]
        attended = self._dropout(parts.output(context))
        hidden = parts.attention_norm((hidden[:, :1] if first_only else hidden) + attended)
        inner = parts.activation(parts.ffn_in(hidden))  # (batch, queries, neurons)
        if gates is not None:
            inner = inner * gates.neurons[index][:, None, :]
        return cast(Tensor, parts.ffn_norm(hidden + self._dropout(parts.ffn_out(inner))))

    def attend(self, index: int, hidden: Tensor, mask: Tensor | None, first_only: bool = False) -> Tensor:
        """Return the context vectors (batch, queries, heads × head size) of a layer: the input of its output matrix."""
        parts = self.parts[index]
        heads = [
            x.view(hidden.shape[0], -1, parts.heads, parts.head_size).transpose(1, 2)
            for x in self.project(index, hidden, first_only)
        ]  # each (batch, heads, sequence, head size)
        context, _ = self.attention.attend(self.model, *heads, mask, scaling=self.scaling(index), dropout=self.dropout)
        return cast(Tensor, context.flatten(2))

    def scaling(self, index: int) -> float:
        """Return the factor of the attention scores of a layer."""
        return float(self.parts[index].head_size ** -0.5)

    def project(self, index: int, hidden: Tensor, first_only: bool) -> tuple[Tensor, ...]:
        """Return query, key and value of a layer, each (batch, sequence, heads × head size)."""
        parts = self.parts[index]
        if first_only:
            return (parts.query(hidden[:, :1]), *_project_jointly(hidden, (parts.key, parts.value)))
        return _project_jointly(hidden, (parts.query, parts.key, parts.value))

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.dropout else x


def read_attention_name(config: Any) -> str:
    """Return the name of the attention variant of a model; transformers' own implementations all count as `full`."""
    configured = getattr(config, "_attn_implementation", None)
    names = registry.names("attentions")
    return next((name for name in names if attentions.implementation_name(name) == configured), "full")


def _project_jointly(hidden: Tensor, linears: Sequence[Affine]) -> tuple[Tensor, ...]:
    """Apply several linear maps to the same input as one product."""
    weight = torch.cat([linear.weight for linear in linears])
    bias = torch.cat([linear.bias for linear in linears])
    return torch.split(F.linear(hidden, weight, bias), [linear.out_features for linear in linears], dim=-1)
