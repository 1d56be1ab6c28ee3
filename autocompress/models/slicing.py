"""Slice the weights of one layer: keep some of its heads or some of its feed-forward neurons."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from autocompress.models.families import Affine, Family


def keep_heads(family: Family, layer: nn.Module, heads: np.ndarray) -> None:
    """Keep only these heads of a layer, in place; `heads` holds their sorted indices."""
    parts = family.parts(layer)
    rows = torch.as_tensor(np.concatenate([np.arange(h * parts.head_size, (h + 1) * parts.head_size) for h in heads]))
    for linear in (parts.query, parts.key, parts.value):
        _keep_rows(linear, rows)
    _keep_columns(parts.output, rows)


def keep_neurons(family: Family, layer: nn.Module, neurons: np.ndarray) -> None:
    """Keep only these feed-forward neurons of a layer, in place; `neurons` holds their sorted indices."""
    parts = family.parts(layer)
    rows = torch.as_tensor(neurons)
    _keep_rows(parts.ffn_in, rows)
    _keep_columns(parts.ffn_out, rows)


def _keep_rows(linear: Affine, rows: Tensor) -> None:
    assert isinstance(linear, nn.Linear), "only whole modules are sliced"
    linear.weight = nn.Parameter(linear.weight.detach()[rows].clone())
    linear.bias = nn.Parameter(linear.bias.detach()[rows].clone())
    linear.out_features = len(rows)


def _keep_columns(linear: Affine, columns: Tensor) -> None:
    assert isinstance(linear, nn.Linear), "only whole modules are sliced"
    linear.weight = nn.Parameter(linear.weight.detach()[:, columns].clone())
    linear.in_features = len(columns)
