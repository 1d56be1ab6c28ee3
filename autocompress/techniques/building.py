"""Build a candidate: a copy of the teacher's model from which the parts that a recipe removes are sliced out."""

from __future__ import annotations

import copy
from typing import Any

from autocompress.core.recipe import Recipe
from autocompress.models.blocks import BLOCKS
from autocompress.models.candidate import Candidate
from autocompress.models.families import load_family
from autocompress.models.importance import Importance
from autocompress.techniques.stages import StructureTechnique, active_of
from autocompress.techniques.structure import Structure, best_units


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

    Layers, heads and neurons are sliced as `structure` says, which is what the recipe resolves to; then the decisions about
    structure change the rest, in the order of the recipe.
    """
    model = copy.deepcopy(teacher).eval()
    family = load_family(model.config.model_type)
    family.adapt(model)
    candidate = Candidate(recipe, model, family, tuple(range(family.depth(model))))
    if not family.is_known:  # its layers cannot be taken apart
        return candidate
    structure = resolve_structure(recipe, importance) if structure is None else structure
    if structure.kept_layers != candidate.kept_layers:
        family.keep_layers(model, structure.kept_layers)
        candidate.kept_layers = structure.kept_layers
    _keep_units(candidate, structure, importance)
    for technique, value in active_of(recipe, StructureTechnique):
        technique.build(candidate, value, structure)
    return candidate


def _keep_units(candidate: Candidate, structure: Structure, importance: Importance) -> None:
    """Keep the most important heads and neurons of each kept layer, as many as the structure says; of shared layers once."""
    family = candidate.family
    block, layers = BLOCKS.load(family.block), family.distinct(family.parts(candidate.model))
    for parts, index, heads, neurons in zip(
        layers, structure.kept_layers, structure.heads, structure.neurons, strict=False
    ):
        if heads < len(importance.heads[index]):
            block.keep_heads(parts, best_units(importance.heads[index], heads))
        if neurons < len(importance.neurons[index]):
            block.keep_neurons(parts, best_units(importance.neurons[index], neurons))
