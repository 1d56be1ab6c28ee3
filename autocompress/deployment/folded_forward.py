"""The forward pass for export, with constant folding: everything that does not depend on the inputs is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from autocompress.models.candidate import Candidate
from autocompress.models.families import Family
from autocompress.models.forward import Forward, WholeForward
from autocompress.models.layer_parts import Affine, LayerParts
from autocompress.models.linear_maps import join_weights, make_constant, multiply
from autocompress.models.model_types import Model

Constant = nn.Parameter
Joint = tuple[Constant, Constant | None]  # weight (inputs, outputs) and bias of one product


class ExportedModel(nn.Module):
    """A candidate as a module with tensors as inputs and output: folded, or transformers' own forward pass."""

    def __init__(self, candidate: Candidate) -> None:
        super().__init__()
        self.model = candidate.model
        self.forward_pass: Forward
        if candidate.family.is_known:
            folded = FoldedForward(candidate.model, candidate.family)
            self.forward_pass, self._has_types = folded, folded.embeddings.token_type is not None
            self.most_tokens = folded.position_count()
            self.constants = nn.ParameterList(folded.list_constants())
            self.maps = nn.ModuleList(folded.list_modules())
        else:
            whole = WholeForward(candidate.model, candidate.family)
            self.forward_pass, self._has_types = whole, whole.has_types
            self.most_tokens = int(getattr(candidate.model.config, "max_position_embeddings", 512))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        return self.forward_pass(input_ids, attention_mask, token_type_ids).logits

    def has_types(self, pairs: bool) -> bool:
        """Return whether the model reads token types: for pairs of texts, where the family has such a table."""
        return pairs and self._has_types


class FoldedForward(Forward):
    """A forward pass that computes its constants when it is built.

    Query, key and value are one matrix, the scale of the scores is in the query's rows, and the first token type is in
    the position table. The uses of a shared layer share their constants, too: query is a matrix of its own there, because
    the last use may compute it at position 0 alone.
    """

    def __init__(self, model: Model, family: Family) -> None:
        super().__init__(model, family)
        distinct = [self.block.fold(parts) for parts in family.distinct(self.parts)]
        self.parts = distinct * (len(self.parts) // len(distinct))
        self.joint = [self._fold_projection(index) for index in range(len(distinct))]
        self.query = self._fold_query()
        self._rotations: dict[int, tuple[Constant, Constant]] = {}  # by the address of the frequencies
        self._biases: list[Constant] = []
        length = self.position_count()
        if distinct[0].rotary is not None:
            for parts in distinct:
                self._fold_rotation(parts, length)
        if distinct[0].bias is not None:
            terms = (super(FoldedForward, self).position_bias(index, length) for index in range(len(self.parts)))
            self._biases = [make_constant(bias) for bias in terms if bias is not None]
        self._fold_positions()

    def position_count(self) -> int:
        """Return the number of positions of the longest input."""
        tables = self.embeddings
        if tables.position is None:
            return int(self.model.config.max_position_embeddings)
        return len(tables.position.weight) - tables.first_position

    def list_constants(self) -> list[Constant]:
        """Return the computed constants, which the exporter must know as parameters."""
        joints = [*self.joint, *([] if self.query is None else [self.query])]
        rotations = [constant for pair in self._rotations.values() for constant in pair]
        positions = [] if self.position is None else [self.position, cast(Constant, self.position_and_type)]
        positions += [] if self.first_type is None else [self.first_type]
        return [*(p for pair in joints for p in pair if p is not None), *rotations, *self._biases, *positions]

    def list_modules(self) -> list[nn.Module]:
        """Return the modules that were made for this pass."""
        known = set(self.model.modules())
        linears: list[object] = [linear for parts in self.parts for linear in (parts.ffn_in, parts.ffn_gate)]
        return [linear for linear in dict.fromkeys(linears) if isinstance(linear, nn.Module) and linear not in known]

    @property
    def _splits_query(self) -> bool:
        """Whether some layer computes its query as a product of its own."""
        return self.head.first_only or self.family.shares_layers

    def _fold_positions(self) -> None:
        tables = self.embeddings
        self.position: Constant | None = None
        self.position_and_type: Constant | None = None
        self.first_type: Constant | None = None  # where there is no position to add it to
        types = tables.token_type
        if tables.position is None:
            self.first_type = None if types is None else make_constant(types.weight[0])
        else:
            position = tables.position.weight[tables.first_position :]
            self.position = make_constant(position)
            self.position_and_type = self.position if types is None else make_constant(position + types.weight[0])

    def _fold_rotation(self, parts: LayerParts, length: int) -> None:
        assert parts.rotary is not None
        key = parts.rotary.frequencies.data_ptr()
        if key not in self._rotations:
            angles = torch.arange(length, dtype=torch.float32)[:, None] * parts.rotary.frequencies
            scale = parts.rotary.scale
            self._rotations[key] = (make_constant(angles.cos() * scale), make_constant(angles.sin() * scale))

    def _fold_query(self) -> Joint | None:
        """Return weight (hidden, rows) and bias (rows,) of the last layer's query, which only position 0 has."""
        if not self._splits_query:
            return None
        return _fold_joint([(self.parts[-1].query, super().scaling(len(self.parts) - 1))])

    def _fold_projection(self, index: int) -> Joint:
        """Return weight (hidden, rows) and bias (rows,) of query, key and value; of key and value where the query is apart."""
        parts = self.parts[index]
        linears = [(parts.query, super().scaling(index)), (parts.key, 1.0), (parts.value, 1.0)]
        return _fold_joint(linears[1:] if self._is_apart(index) else linears)

    def _is_apart(self, index: int) -> bool:
        """Return whether a layer's query is not part of the joint product."""
        return self.family.shares_layers or (self.head.first_only and index == len(self.parts) - 1)

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        tables = self.embeddings
        position_ids = torch.arange(input_ids.shape[1])
        position = self.position_and_type if token_type_ids is None else self.position
        hidden: Tensor = tables.word(input_ids)
        hidden = hidden if position is None else hidden + position[position_ids]
        if token_type_ids is not None and tables.token_type is not None:
            hidden = hidden + tables.token_type(token_type_ids)
        elif token_type_ids is None and self.first_type is not None:
            hidden = hidden + self.first_type
        hidden = tables.norm(hidden)
        return cast(Tensor, hidden if tables.projection is None else tables.projection(hidden))

    def scaling(self, index: int) -> float:
        return 1.0

    def rotation(self, index: int, length: int) -> tuple[Tensor, Tensor] | None:
        rotary = self.parts[index].rotary
        if rotary is None:
            return None
        cosine, sine = self._rotations[rotary.frequencies.data_ptr()]
        return cosine[:length], sine[:length]

    def position_bias(self, index: int, length: int) -> Tensor | None:
        return self._biases[index] if self._biases else None

    def project(self, index: int, hidden: Tensor, first_only: bool) -> tuple[Tensor, ...]:
        parts = self.parts[index]
        width = parts.heads * parts.head_size
        joint = torch.split(multiply(hidden, *self.joint[index % len(self.joint)]), width, dim=-1)
        if not self._is_apart(index):
            return joint
        assert self.query is not None
        return (multiply(hidden[:, :1] if first_only else hidden, *self.query), *joint)


def _fold_joint(linears: Sequence[tuple[Affine, float]]) -> Joint:
    weight, bias = join_weights(linears)
    return make_constant(weight.T), None if bias is None else make_constant(bias)
