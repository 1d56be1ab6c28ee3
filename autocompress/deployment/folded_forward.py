"""The forward pass for export, with constant folding: everything that does not depend on the inputs is computed once."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from autocompress.models.candidate import Candidate
from autocompress.models.forward import Forward


class FoldedModel(nn.Module):
    """The folded forward pass as a module with tensors as inputs and output.

    Query, key and value are one matrix, the scale of the scores is in the query's rows, and the first token type is in
    the position table.
    """

    def __init__(self, candidate: Candidate) -> None:
        super().__init__()
        self.model = candidate.model
        self.forward_pass = FoldedForward(candidate.model, candidate.family)
        self.constants = nn.ParameterList(self.forward_pass.list_constants())

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        return self.forward_pass(input_ids, attention_mask, token_type_ids).logits

    def has_types(self, pairs: bool) -> bool:
        """Return whether the model reads token types: for pairs of texts, where the family has such a table."""
        return pairs and self.forward_pass.embeddings.token_type is not None


class FoldedForward(Forward):
    """A forward pass that computes its constants when it is built."""

    def __init__(self, model: Any, family: Any) -> None:
        super().__init__(model, family)
        self.joint = [self._fold_projection(index) for index in range(len(self.parts))]
        self.last_query = self._fold_last_query() if self.head.first_only else ()
        tables = self.embeddings
        position = tables.position.weight[tables.first_position :]
        self.position = _make_constant(position)
        self.position_and_type = (
            self.position if tables.token_type is None else _make_constant(position + tables.token_type.weight[0])
        )

    def list_constants(self) -> list[nn.Parameter]:
        """Return the computed constants, which the exporter must know as parameters."""
        return [*(p for pair in self.joint for p in pair), *self.last_query, self.position, self.position_and_type]

    def _fold_last_query(self) -> tuple[nn.Parameter, ...]:
        """Return weight (hidden, rows) and bias (rows,) of the last layer's query, which only position 0 has."""
        query, scale = self.parts[-1].query, super().scaling(len(self.parts) - 1)
        return _make_constant(query.weight.T * scale), _make_constant(query.bias * scale)

    def _fold_projection(self, index: int) -> tuple[nn.Parameter, nn.Parameter]:
        """Return weight (hidden, rows) and bias (rows,) of query, key and value; of key and value where only position 0 has
        a query."""
        parts = self.parts[index]
        linears = [(parts.query, super().scaling(index)), (parts.key, 1.0), (parts.value, 1.0)]
        linears = linears[1:] if self.head.first_only and index == len(self.parts) - 1 else linears
        weight = torch.cat([linear.weight * factor for linear, factor in linears]).T
        return _make_constant(weight), _make_constant(torch.cat([linear.bias * factor for linear, factor in linears]))

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        tables = self.embeddings
        position_ids = torch.arange(input_ids.shape[1])
        position = self.position_and_type if token_type_ids is None else self.position
        hidden = tables.word(input_ids) + position[position_ids]
        if token_type_ids is not None and tables.token_type is not None:
            hidden = hidden + tables.token_type(token_type_ids)
        hidden = tables.norm(hidden)
        return cast(Tensor, hidden if tables.projection is None else tables.projection(hidden))

    def scaling(self, index: int) -> float:
        return 1.0

    def project(self, index: int, hidden: Tensor, first_only: bool) -> tuple[Tensor, ...]:
        parts = self.parts[index]
        width = parts.heads * parts.head_size
        weight, bias = self.joint[index]
        joint = torch.split(hidden @ weight + bias, width, dim=-1)
        if first_only:
            weight, bias = self.last_query
            return (hidden[:, :1] @ weight + bias, *joint)
        return joint


def _make_constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().contiguous().clone(), requires_grad=False)
