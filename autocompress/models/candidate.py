"""A candidate: a recipe, and the model that was built from it (see `techniques/building.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autocompress.core.recipe import Recipe
from autocompress.models.families import Family

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
