"""One forward pass for every family, used by training, importance and export.

It returns the logits of the transformers model (a test compares them) with less work: one product computes query, key and
value, a batch has one mask, and where the head reads only position 0, the last layer computes no other. The last saves almost
a third of a three-layer model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from autocompress.core.sentence_embedding import POOLING_KEY
from autocompress.models.attentions import ATTENTIONS, read_attention_name
from autocompress.models.blocks import BLOCKS, LayerGates
from autocompress.models.families import Family
from autocompress.models.heads import POOLING
from autocompress.models.layer_parts import LayerParts
from autocompress.models.linear_maps import project_jointly
from autocompress.models.model_types import Model


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

    def __init__(self, model: Model, family: Family, dropout: float = 0.0) -> None:
        self.model, self.family, self.dropout = model, family, dropout
        self.block = BLOCKS.load(family.block)
        self.head = family.head(model)
        self.parts: list[LayerParts] = family.parts(model)
        self.embeddings = family.embeddings(model)
        self.attention = ATTENTIONS.load(read_attention_name(model.config))

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
        if self.family.final_norm is not None:
            hidden = self.family.final_norm(self.model)(hidden)
        return Output(self.head.apply(self.model, hidden, attention_mask), tuple(states))

    def run_batch(
        self, batch: Mapping[str, Tensor], gates: Gates | None = None, skip: frozenset[int] = frozenset()
    ) -> Output:
        """Run a batch of tensors by name; labels among them are not read."""
        return self(batch["input_ids"], batch["attention_mask"], batch.get("token_type_ids"), gates=gates, skip=skip)

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """Return the first hidden states (batch, sequence, hidden)."""
        tables = self.embeddings
        hidden: Tensor = tables.word(input_ids)
        if tables.position is not None:
            start = tables.first_position
            hidden = hidden + tables.position.weight[start : start + input_ids.shape[1]]
        if tables.token_type is not None:
            types = tables.token_type.weight[0] if token_type_ids is None else tables.token_type(token_type_ids)
            hidden = hidden + types
        hidden = tables.norm(hidden)
        return cast(Tensor, hidden if tables.projection is None else tables.projection(hidden))

    def mask(self, attention_mask: Tensor, hidden: Tensor) -> Tensor | None:
        """Convert a keep-mask (batch, sequence) to the form that the attention variant reads, in the type of `hidden`."""
        batch, length = attention_mask.shape
        return self.attention.mask(
            batch_size=batch,
            q_length=length,
            kv_length=length,
            attention_mask=attention_mask.bool(),
            dtype=hidden.dtype,
        )

    def _run_layer(
        self, index: int, hidden: Tensor, mask: Tensor | None, gates: Gates | None, first_only: bool
    ) -> Tensor:
        attend = partial(self.attend, index, mask=mask, first_only=first_only)
        layer_gates = None if gates is None else LayerGates(gates.heads[index], gates.neurons[index])
        return self.block.run(self.parts[index], hidden, attend, layer_gates, self._dropout, first_only)

    def attend(self, index: int, hidden: Tensor, mask: Tensor | None, first_only: bool = False) -> Tensor:
        """Return the context vectors (batch, queries, heads × head size) of a layer: the input of its output matrix.

        `hidden` is what the layer's block returns as `attention_input`.
        """
        parts = self.parts[index]
        query, key, value = (
            x.view(hidden.shape[0], -1, parts.heads, parts.head_size).transpose(1, 2)
            for x in self.project(index, hidden, first_only)
        )  # each (batch, heads, sequence, head size)
        angles = self.rotation(index, hidden.shape[1])
        if angles is not None:
            query, key = rotate(query, *angles), rotate(key, *angles)
        context, _ = self.attention.attend(
            self.model,
            query,
            key,
            value,
            mask,
            scaling=self.scaling(index),
            dropout=self.dropout,
            **self._position_terms(index, hidden.shape[1]),
        )
        return context.flatten(2)

    def _position_terms(self, index: int, length: int) -> dict[str, Tensor | int]:
        """Return the arguments of `attend` that only layers with positions of their own need."""
        terms: dict[str, Tensor | int] = {}
        if (bias := self.position_bias(index, length)) is not None:
            terms["position_bias"] = bias
        if (window := self.parts[index].window) is not None:
            terms["sliding_window"] = window + 1
        return terms

    def scaling(self, index: int) -> float:
        """Return the factor of the attention scores of a layer."""
        return float(self.parts[index].head_size ** -0.5)

    def rotation(self, index: int, length: int) -> tuple[Tensor, Tensor] | None:
        """Return cosine and sine (length, head size ÷ 2) of a layer's rotary positions; None where it has none."""
        rotary = self.parts[index].rotary
        if rotary is None:
            return None
        angles = torch.arange(length, dtype=torch.float32)[:, None] * rotary.frequencies
        return angles.cos() * rotary.scale, angles.sin() * rotary.scale

    def position_bias(self, index: int, length: int) -> Tensor | None:
        """Return the terms (1, heads, 2 × length − 1) of a layer's relative positions; None where it has none."""
        bias = self.parts[index].bias
        if bias is None:
            return None
        rows = bias.bucket(torch.arange(1 - length, length))
        return bias.table.weight[rows][:, list(bias.columns)].T.unsqueeze(0)

    def project(self, index: int, hidden: Tensor, first_only: bool) -> tuple[Tensor, ...]:
        """Return query, key and value of a layer, each (batch, sequence, heads × head size)."""
        parts = self.parts[index]
        if first_only:
            return (parts.query(hidden[:, :1]), *project_jointly(hidden, (parts.key, parts.value)))
        return project_jointly(hidden, (parts.query, parts.key, parts.value))

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.dropout else x


class WholeForward(Forward):
    """transformers' own forward pass, of a model whose family has no file: nothing of it can be gated, skipped or sliced."""

    def __init__(self, model: Model, family: Family, dropout: float = 0.0) -> None:
        self.model, self.family, self.dropout, self.parts = model, family, dropout, []

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        *,
        gates: Gates | None = None,
        skip: frozenset[int] = frozenset(),
    ) -> Output:
        """Return the logits; there are no hidden states."""
        types = {} if token_type_ids is None or not self.has_types else {"token_type_ids": token_type_ids}
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        pooling = getattr(self.model.config, POOLING_KEY, None)
        if "logits" in outputs or not pooling:
            return Output(outputs["logits"], ())
        return Output(POOLING[pooling["pooling"]].apply(self.model, outputs[0], attention_mask), ())

    @property
    def has_types(self) -> bool:
        """Return whether the model reads token types."""
        return bool(getattr(self.model.config, "type_vocab_size", 0))


def open_forward(model: Model, family: Family, dropout: float = 0.0) -> Forward:
    """Return the forward pass of a model: transformers' own where the family has no file."""
    return (Forward if family.is_known else WholeForward)(model, family, dropout)


def rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate (batch, heads, positions, head size) by the angles of the first positions, in float32 (Su et al. 2021)."""
    first, second = states.float().chunk(2, dim=-1)
    cosine, sine = cosine[: states.shape[2]], sine[: states.shape[2]]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1).to(states.dtype)
