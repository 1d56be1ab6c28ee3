"""Build a candidate: the teacher's model with the recipe's heads, neurons and layers really sliced out."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autocompress.core import registry
from autocompress.core.recipe import AFTER_RECOVERY, NEUTRAL, Recipe
from autocompress.models.families import family_of

VERSION = 1


@dataclass(frozen=True)
class Importance:
    """What the teacher's parts are worth on calibration rows; higher = keep."""

    heads: np.ndarray  # (layers, heads)
    neurons: np.ndarray  # (layers, neurons)
    removal: tuple[int, ...]  # layers in the order in which they are best given up


@dataclass
class Candidate:
    """A recipe and the torch model it gives; lives in memory for one trial."""

    recipe: Recipe
    model: Any  # a transformers model for sequence classification
    family: ModuleType
    kept_layers: tuple[int, ...]  # the teacher's layer numbers

    @property
    def heads(self) -> tuple[int, ...]:
        """Heads of each kept layer."""
        return tuple(self.family.parts(layer).heads for layer in self.family.layers(self.model))

    @property
    def neurons(self) -> tuple[int, ...]:
        """FFN neurons of each kept layer."""
        return tuple(self.family.parts(layer).neurons for layer in self.family.layers(self.model))

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def build_candidate(teacher: Any, recipe: Recipe, importance: Importance) -> Candidate:
    """The candidate of a recipe, its weights the teacher's own. `teacher` stays as it is.

    Decisions are applied in the order of the fields of `Recipe`; those of `AFTER_RECOVERY` wait until deployment.
    """
    model = copy.deepcopy(teacher).eval()
    family = family_of(model.config.model_type)
    candidate = Candidate(recipe, model, family, tuple(range(len(family.layers(model)))))
    for decision, value in recipe.as_dict().items():
        if decision not in AFTER_RECOVERY and value != NEUTRAL[decision]:
            registry.load("techniques", decision).apply(candidate, value, importance)
    return candidate


def keep_heads(family: ModuleType, layer: nn.Module, heads: np.ndarray) -> None:
    """Slice a layer down to the heads whose (sorted) numbers are given."""
    parts = family.parts(layer)
    rows = torch.as_tensor(np.concatenate([np.arange(h * parts.head_size, (h + 1) * parts.head_size) for h in heads]))
    for linear in (parts.query, parts.key, parts.value):
        _keep_rows(linear, rows)
    _keep_columns(parts.output, rows)


def keep_neurons(family: ModuleType, layer: nn.Module, neurons: np.ndarray) -> None:
    """Slice a layer's FFN down to the neurons whose (sorted) numbers are given."""
    parts = family.parts(layer)
    rows = torch.as_tensor(neurons)
    _keep_rows(parts.ffn_in, rows)
    _keep_columns(parts.ffn_out, rows)


def _keep_rows(linear: nn.Linear, rows: Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[rows].clone())
    linear.bias = nn.Parameter(linear.bias.detach()[rows].clone())
    linear.out_features = len(rows)


def _keep_columns(linear: nn.Linear, columns: Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[:, columns].clone())
    linear.in_features = len(columns)
