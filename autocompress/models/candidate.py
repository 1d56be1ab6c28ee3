"""Build a candidate: a copy of the teacher's model with the layers, heads and neurons that a recipe removes sliced out."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from autocompress.core import registry
from autocompress.core.recipe import AFTER_RECOVERY, NEUTRAL, Recipe
from autocompress.models.families import Family, load_family
from autocompress.models.importance import Importance

VERSION = 1  # of the stage `structure`


@dataclass
class Candidate:
    """A recipe and the torch model built from it. It lives in memory for one trial."""

    recipe: Recipe
    model: Any  # a transformers model
    family: Family
    kept_layers: tuple[int, ...]  # indices of the teacher's layers

    @property
    def heads(self) -> tuple[int, ...]:
        """Return the number of heads of each kept layer."""
        return tuple(parts.heads for parts in self.family.parts(self.model))

    @property
    def neurons(self) -> tuple[int, ...]:
        """Return the number of feed-forward neurons of each kept layer."""
        return tuple(parts.neurons for parts in self.family.parts(self.model))

    @property
    def parameters(self) -> int:
        """Return the number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def build_candidate(teacher: Any, recipe: Recipe, importance: Importance) -> Candidate:
    """Build the candidate of a recipe with the teacher's weights. The teacher is not changed.

    Decisions are applied in the order of the fields of `Recipe`; deployment applies those of `AFTER_RECOVERY`.
    """
    model = copy.deepcopy(teacher).eval()
    family = load_family(model.config.model_type)
    family.adapt(model)
    candidate = Candidate(recipe, model, family, tuple(range(family.depth(model))))
    for decision, value in recipe.as_dict().items():
        if decision not in AFTER_RECOVERY and value != NEUTRAL[decision]:
            registry.load("techniques", decision).apply(candidate, value, importance)
    return candidate
