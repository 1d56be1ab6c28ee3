"""Build a candidate: a copy of the teacher's model from which the parts that a recipe removes are sliced out."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from autocompress.core.recipe import Recipe
from autocompress.models.candidate import Candidate
from autocompress.models.families import load_family
from autocompress.models.importance import Importance
from autocompress.models.slicing import keep_heads, keep_neurons
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
    candidate = Candidate(recipe, model, family, tuple(range(len(family.layers(model)))))
    structure = resolve_structure(recipe, importance) if structure is None else structure
    if structure.kept_layers != candidate.kept_layers:
        _keep_layers(candidate, structure.kept_layers)
    _keep_units(candidate, structure, importance)
    for technique, value in active_of(recipe, StructureTechnique):
        technique.build(candidate, value, structure)
    return candidate


def _keep_layers(candidate: Candidate, kept_layers: tuple[int, ...]) -> None:
    """Keep only these layers, in their order."""
    layers = candidate.family.layers(candidate.model)
    kept_modules = [layers[index] for index in kept_layers]
    del layers[:]
    layers.extend(kept_modules)
    for index, layer in enumerate(layers):
        _set_layer_index(layer, index)
    config = candidate.model.config
    setattr(config, config.attribute_map.get("num_hidden_layers", "num_hidden_layers"), len(kept_modules))
    candidate.kept_layers = kept_layers


def _set_layer_index(layer: nn.Module, index: int) -> None:
    for module in layer.modules():
        if hasattr(module, "layer_idx"):
            setattr(module, "layer_idx", index)  # noqa: B010  # nn.Module declares only tensors and modules as attributes


def _keep_units(candidate: Candidate, structure: Structure, importance: Importance) -> None:
    """Keep the most important heads and neurons of each kept layer, as many as the structure says."""
    family, layers = candidate.family, candidate.family.layers(candidate.model)
    for layer, index, heads, neurons in zip(
        layers, structure.kept_layers, structure.heads, structure.neurons, strict=True
    ):
        if heads < len(importance.heads[index]):
            keep_heads(family, layer, best_units(importance.heads[index], heads))
        if neurons < len(importance.neurons[index]):
            keep_neurons(family, layer, best_units(importance.neurons[index], neurons))
