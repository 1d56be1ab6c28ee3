"""Recipes: frozen mappings whose keys stay as they were in every earlier version."""

from __future__ import annotations

import pickle

import pytest

from autocompress.core.domain import Anatomy
from autocompress.core.recipe import Recipe

LOCAL = {"attention": "local", "attention_window": 4}
STORED = {  # key that the version with one attribute per decision computed -> decisions, description
    "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a": ({}, "all layers · fp32"),
    "2b60cd8b3636f96205321070a2126eb1d2e5c4a3c8a41837e446c4a127e87448": ({"depth": 3}, "3 layers · fp32"),
    "10b5966b2f927d0d1a37e120692a4d110207c5a2b071343ed075452319bc453a": (
        {"depth": 2, **LOCAL, "head_sparsity": 0.5, "ffn_sparsity": 0.5, "weight_bits": 8},
        "2 layers · local attention 4 · −50% heads · −50% neurons · 8-bit",
    ),
    "98a80d4deb1d696d3f20ec0d95aa55454bf56d85a0e7c12df36d7cc426551e5a": (
        {"depth": 6, "weight_bits": 8, "embedding_bits": 4},
        "6 layers · 8-bit · 4-bit embeddings",
    ),
    "475b840d205499ca234f531c0ab73c2934ea54cdd2fded1a14918a3e1cb1f972": (
        {"depth": 1, "attention": "linear", "ffn_sparsity": 0.9375, "weight_bits": 2, "embedding_bits": 8},
        "1 layer · linear attention · −94% neurons · 2-bit · 8-bit embeddings",
    ),
}


@pytest.mark.parametrize("key", STORED)
def test_keys_and_descriptions_of_earlier_versions_stay(key: str) -> None:
    decisions, text = STORED[key]
    assert Recipe(**decisions).key == key
    assert Recipe(**decisions).describe() == text


def test_a_recipe_is_a_frozen_mapping() -> None:
    recipe = Recipe(weight_bits=8, depth=2)
    assert recipe["depth"] == 2 and dict(recipe)["weight_bits"] == 8 and recipe["embedding_bits"] == 32
    assert list(recipe) == list(recipe.as_dict()) and next(iter(recipe)) == "stop_words"  # in the order of application
    with pytest.raises(TypeError):
        recipe["depth"] = 3  # type: ignore[index]
    other = recipe.replace(depth=3)
    assert (recipe["depth"], other["depth"], other["weight_bits"]) == (2, 3, 8)
    assert len({recipe, Recipe.from_dict(recipe), other.replace(depth=2), other}) == 2
    assert recipe != recipe.as_dict()
    copy = pickle.loads(pickle.dumps(recipe))
    assert copy == recipe and hash(copy) == hash(recipe) and copy.key == recipe.key
    assert "depth=1, attention='full'" in repr(Recipe(depth=1))


def test_unknown_decisions_are_refused_and_stored_ones_left_out() -> None:
    with pytest.raises(TypeError, match=r"unknown decision 'rank'; available: .*depth, attention"):
        Recipe(depth=1, rank=4)
    assert Recipe.from_stored({"depth": 1, "rank": 4}) == Recipe(depth=1)


def test_one_training_serves_every_recipe_that_agrees_in_what_it_reads() -> None:
    recipe, teacher = Recipe(depth=2, weight_bits=8, embedding_bits=4), Recipe.of_teacher(Anatomy(3))
    assert recipe.trained() == Recipe(depth=2)
    assert recipe.shares_weights(Recipe(depth=2)) and not recipe.shares_weights(teacher)
    assert Recipe(depth=3, weight_bits=2).shares_weights(teacher)
    assert teacher == Recipe(depth=3)
