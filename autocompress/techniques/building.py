"""Build a candidate: a copy of the teacher's model from which the parts that a recipe removes are sliced out."""

from __future__ import annotations

import copy
from typing import Any

from autocompress.core.recipe import Recipe
from autocompress.models.candidate import Candidate
from autocompress.models.families import load_family
from autocompress.models.importance import Importance
from autocompress.techniques.stages import StructureTechnique, active_of
from autocompress.techniques.structure import Structure


def resolve_structure(recipe: Recipe, importance: Importance) -> Structure:
    """Return the layers, heads and neurons that a recipe keeps."""
    structure = Structure.of_teacher(importance)
    for technique, value in active_of(recipe, StructureTechnique):
        structure = technique.resolve(value, importance, structure)
    return structure


def build_candidate(
    teacher: Any, recipe: Recipe, importance: Importance, structure: Structure | None = None
) -> Candidate:
    """Build the candidate of a recipe with the teacher's weights. The teacher is not changed.

    Decisions about structure are applied in the order of the recipe. `structure` is what they resolve to, where it is known.
    """
    model = copy.deepcopy(teacher).eval()
    family = load_family(model.config.model_type)
    family.adapt(model)
    candidate = Candidate(recipe, model, family, tuple(range(family.depth(model))))
    if not family.is_known:  # its layers cannot be taken apart
        return candidate
    structure = resolve_structure(recipe, importance) if structure is None else structure
    for technique, value in active_of(recipe, StructureTechnique):
        technique.build(candidate, value, structure, importance)
    return candidate
