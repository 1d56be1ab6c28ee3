"""Linear maps that share weights: parts of a matrix, several maps as one product, and rows or columns that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.models.layer_parts import Affine


@dataclass(frozen=True)
class LinearSlice:
    """Some rows and the first columns of a linear map, whose weights it shares."""

    whole: Affine
    rows: int | None = None  # None: all
    columns: int | None = None
    first_row: int = 0

    @property
    def weight(self) -> Tensor:
        return self.whole.weight[self._span, : self.columns]

    @property
    def bias(self) -> Tensor | None:
        return None if self.whole.bias is None else self.whole.bias[self._span]

    @property
    def out_features(self) -> int:
        return self.whole.out_features if self.rows is None else self.rows

    @property
    def _span(self) -> slice:
        return slice(self.first_row, None if self.rows is None else self.first_row + self.rows)

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class ConstantLinear(nn.Module):
    """A linear map whose weights are a constant of the exported graph."""

    def __init__(self, linear: Affine) -> None:
        super().__init__()
        self.columns = make_constant(linear.weight.T)  # (inputs, outputs)
        self.bias = None if linear.bias is None else make_constant(linear.bias)
        self.out_features = linear.out_features

    @property
    def weight(self) -> Tensor:
        return self.columns.T

    def forward(self, x: Tensor) -> Tensor:
        return multiply(x, self.columns, self.bias)


def make_constant(tensor: Tensor) -> nn.Parameter:
    """Copy a tensor to a parameter that is not trained, as the exporter needs it."""
    return nn.Parameter(tensor.detach().contiguous().clone(), requires_grad=False)


def multiply(x: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
    """Return x (…, inputs) · columns (inputs, outputs), plus the bias where there is one."""
    product = x @ columns
    return product if bias is None else product + bias


def join_weights(linears: Sequence[tuple[Affine, float]]) -> tuple[Tensor, Tensor | None]:
    """Return weight (outputs of all, inputs) and bias of several linear maps of one input, each times its factor."""
    weight = torch.cat([linear.weight * factor for linear, factor in linears])
    biases = [linear.bias * factor for linear, factor in linears if linear.bias is not None]
    return weight, torch.cat(biases) if biases else None


def project_jointly(hidden: Tensor, linears: Sequence[Affine]) -> tuple[Tensor, ...]:
    """Apply several linear maps to the same input as one product. Either all of them have a bias, or none."""
    weight = torch.cat([linear.weight for linear in linears])
    biases = [linear.bias for linear in linears if linear.bias is not None]
    bias = torch.cat(biases) if biases else None
    return torch.split(F.linear(hidden, weight, bias), [linear.out_features for linear in linears], dim=-1)


def whole_linear(linear: Affine) -> nn.Linear:
    """Return the module that a linear map is, or is a part of."""
    while isinstance(linear, LinearSlice):
        linear = linear.whole
    assert isinstance(linear, nn.Linear), "only a model's own modules are sliced"
    return linear


def keep_rows(linears: Sequence[Affine], rows: Tensor) -> None:
    """Keep only these rows of each linear map, in place. Maps that are parts of one module are consecutive parts of it."""
    kept: dict[nn.Linear, list[Tensor]] = {}
    for linear in linears:
        start = linear.first_row if isinstance(linear, LinearSlice) else 0
        kept.setdefault(whole_linear(linear), []).append(start + rows)
    for module, parts in kept.items():
        indices = torch.cat(parts)
        module.weight = nn.Parameter(module.weight.detach()[indices].clone())
        if module.bias is not None:
            module.bias = nn.Parameter(module.bias.detach()[indices].clone())
        module.out_features = len(indices)


def keep_columns(linear: Affine, columns: Tensor) -> None:
    """Keep only these columns of a linear module, in place."""
    module = whole_linear(linear)
    module.weight = nn.Parameter(module.weight.detach()[:, columns].clone())
    module.in_features = len(columns)
