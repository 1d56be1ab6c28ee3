"""Search spaces: domains and their errors, canonical recipes, and suggestions to Optuna."""

from __future__ import annotations

import warnings
from random import Random
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autocompress.config import spaces
from autocompress.core.domain import Anatomy
from autocompress.core.errors import UsageError
from autocompress.core.recipe import Recipe, Scalar
from autocompress.core.technique import ordered_techniques
from autocompress.space.parsing import resolve_space
from autocompress.space.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)

SUPPORTED: dict[str, tuple[Scalar, ...]] = {
    "attention": ("full", "linear", "local"),
    "weight_bits": (32, 16, 8, 4, 2),
    "embedding_bits": (32, 8, 4),
}


def resolved(spec: dict[str, Any], layers: int = 6) -> Space:
    """Return a space on a runtime that supports every value."""
    return resolve_space(spec, Anatomy(layers), SUPPORTED, "s.yaml: space", "onnxruntime")


def subsets(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    """Draw non-empty lists of some of the values, in any order."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=4, unique=True)


@st.composite
def a_space(draw: st.DrawFn) -> Space:
    """Draw a valid space."""
    sparsity = subsets([0, 0.1, 0.25, 0.3, 0.5, 0.625, 0.75, 0.9]) | st.sampled_from(
        [{"low": 0, "high": 0.9, "step": 0.1}, {"low": 0.05, "high": 0.7, "step": 0.15}, 0.3]
    )
    spec: dict[str, Any] = {
        "depth": draw(subsets([1, 2, 3, 5, "all"]) | st.just({"low": 1, "high": "all"}) | st.just("all")),
        "head_sparsity": draw(sparsity),
        "ffn_sparsity": draw(sparsity),
        "attention": draw(subsets(["full", "local", "linear"])),
        "weight_bits": draw(subsets([32, 16, 8, 4, 2])),
        "embedding_bits": draw(subsets([32, 8, 4])),
    }
    if "local" in spec["attention"]:
        spec["attention_window"] = draw(subsets([16, 32, 64, 128]))
    return resolved({name: spec[name] for name in spec if draw(st.booleans()) or name.startswith("attention")})


@settings(deadline=None)
@given(a_space(), st.randoms(use_true_random=False))
def test_canonical_is_idempotent_and_removes_rounding(space: Space, random: Any) -> None:
    values = {name: random.choice(choices) for name, choices in space.choices.items()}
    recipe = space.canonical(values)
    assert space.contains(recipe)
    assert space.canonical(recipe.as_dict()) == recipe
    assert isinstance(recipe["depth"], int)
    assert (recipe["attention_window"] is None) == (recipe["attention"] != "local")
    other = {**values, "attention_window": random.choice(space.choices["attention_window"])}
    assert recipe["attention"] == "local" or space.canonical(other).key == recipe.key
    nudged = {name: value * (1 + 2e-16) if isinstance(value, float) else value for name, value in values.items()}
    assert space.canonical(nudged).key == recipe.key


@settings(max_examples=40, deadline=None)
@given(a_space(), st.randoms(use_true_random=False))
def test_suggest_returns_the_enqueued_recipe(space: Space, random: Any) -> None:
    recipe = space.canonical({name: random.choice(choices) for name, choices in space.choices.items()})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(space.params(recipe))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns of ranges that its steps do not divide, and of values outside
        trial = study.ask()
        assert space.suggest(trial) == recipe
        assert trial.params == space.params(recipe)  # true values, under their own names
        assert set(trial.params) == set(space.free)
        sampled = [space.suggest(study.ask()) for _ in range(5)]
    assert all(space.contains(recipe) for recipe in sampled)


@settings(max_examples=25, deadline=None)
@given(a_space())
def test_size_counts_the_different_recipes(space: Space) -> None:
    if space.size() > 3000:
        return
    recipes = [space.canonical({})]
    for name, choices in space.choices.items():
        recipes = [space.canonical({**recipe.as_dict(), name: value}) for recipe in recipes for value in choices]
        if name == "attention":  # the window is dropped unless attention is local: fill it in again
            windows = space.choices["attention_window"]
            recipes = [r if r["attention"] != "local" else r.replace(attention_window=windows[0]) for r in recipes]
    assert len(set(recipes)) == space.size()
    assert len({recipe.key for recipe in recipes}) == space.size()


@settings(max_examples=40, deadline=None)
@given(a_space(), st.randoms(use_true_random=False))
def test_siblings_differ_in_bit_widths_only(space: Space, random: Any) -> None:
    recipe = space.canonical({name: random.choice(choices) for name, choices in space.choices.items()})
    siblings = space.siblings(recipe)
    assert len(siblings) + 1 == len(space.choices["weight_bits"]) * len(space.choices["embedding_bits"])
    assert recipe not in siblings
    assert all(space.contains(sibling) and sibling.trained() == recipe.trained() for sibling in siblings)


@settings(max_examples=40, deadline=None)
@given(a_space())
def test_initial_recipes_are_distinct_and_in_the_space(space: Space) -> None:
    initial_recipes = space.initial_recipes()
    assert 1 <= len(initial_recipes) <= 9
    assert len(set(initial_recipes)) == len(initial_recipes)
    assert all(space.contains(recipe) for recipe in initial_recipes)
    if "full" in space.choices["attention"]:
        assert all(recipe["attention"] == "full" for recipe in initial_recipes)


def test_initial_recipes_of_the_default_space() -> None:
    initial_recipes = resolved(yaml.safe_load(spaces()["encoder"].read_text())).initial_recipes()
    assert initial_recipes[0] == Recipe(depth=6, weight_bits=8, embedding_bits=8)
    measured = Recipe(depth=3, head_sparsity=0.625, ffn_sparsity=0.75, weight_bits=8, embedding_bits=8)
    assert measured in initial_recipes
    assert Recipe(depth=1, head_sparsity=0.75, ffn_sparsity=0.9375, weight_bits=8, embedding_bits=8) in initial_recipes


@pytest.mark.parametrize("name", ["bits", "encoder", "long_text", "quickstart"])
@pytest.mark.parametrize("layers", [3, 6, 12])
def test_packaged_spaces(name: str, layers: int) -> None:
    text = spaces()[name].read_text()
    space = resolved(yaml.safe_load(text), layers)
    assert text.startswith("# For ")  # the comment says for which texts or users
    assert space.size() > 9
    assert max(depth for depth in space.choices["depth"] if isinstance(depth, int)) == layers
    structures = {recipe.trained() for recipe in space.initial_recipes()}
    assert len(structures) >= 3 or name == "bits"  # bits removes nothing, so nothing is trained
    assert tuple(space.choices) == tuple(ordered_techniques())


def test_initial_recipes_remove_less_on_ties() -> None:
    space = resolved({"depth": [2, 3, 5], "head_sparsity": [0.25, 0.5], "ffn_sparsity": [0.625, 0.875]}, layers=5)
    assert (
        Recipe(depth=3, head_sparsity=0.5, ffn_sparsity=0.625) in space.initial_recipes()
    )  # of half the layers, 3/4 of the neurons


def test_domain_may_be_a_list_a_range_or_a_value() -> None:
    space = resolved(
        {
            "depth": [2, "all", 6],  # all is 6 here: one value
            "head_sparsity": {"low": 0, "high": 0.75, "step": 0.1},  # 0.75 is not reached
            "ffn_sparsity": 0.5,
            "weight_bits": [8],
            "embedding_bits": None,
        }
    )
    assert space.choices["depth"] == (2, 6)
    assert space.choices["head_sparsity"] == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    assert space.choices["ffn_sparsity"] == (0.5,)
    assert space.choices["embedding_bits"] == (32,)
    assert space.free == ("depth", "head_sparsity")
    assert resolved({}).canonical({}) == Recipe(depth=6)
    assert resolved({"depth": {"low": 2, "high": "all", "step": 2}}, 7).choices["depth"] == (2, 4, 6)


def test_zero_gives_one_key_in_every_form() -> None:
    written = [
        resolved({"head_sparsity": zero}).canonical({}).key
        for zero in (0, 0.0, [0], {"low": 0, "high": 0.0, "step": 0.1})
    ]
    assert len(set(written)) == 1
    assert resolved({}).canonical({"head_sparsity": 0}).key == Recipe(depth=6).key


def test_suggest_uses_ranges_for_evenly_spaced_numbers() -> None:
    space = resolved({"depth": {"low": 1, "high": "all"}, "head_sparsity": [0, 0.25, 0.5], "weight_bits": [8, 4, 2]})
    trial = optuna.create_study().ask()
    space.suggest(trial)
    assert trial.distributions["depth"] == optuna.distributions.IntDistribution(1, 6)
    assert trial.distributions["head_sparsity"] == optuna.distributions.FloatDistribution(0, 0.5, step=0.25)
    assert trial.distributions["weight_bits"] == optuna.distributions.CategoricalDistribution((8, 4, 2))


def test_contains_refuses_other_recipes() -> None:
    space = resolved({"depth": [2, 3], "attention": ["full", "local"], "attention_window": [32]})
    assert space.contains(Recipe(depth=2, attention="local", attention_window=32))
    other_recipes = [
        Recipe(depth=4),
        Recipe(depth=2, weight_bits=8),
        Recipe(depth=2, attention_window=32),  # not canonical
        Recipe(depth=2, attention="local"),
        Recipe(depth=None),
    ]
    assert not any(space.contains(recipe) for recipe in other_recipes)
    with pytest.raises(ValueError, match="not in this space"):
        space.params(other_recipes[0])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"dept": 3}, "s.yaml: space: unknown decision 'dept'; did you mean 'depth'? (available: "),
        ({"depth": 7}, "s.yaml: space.depth: 1 <= depth <= 6, the teacher's layers, must hold, but got 7"),
        ({"depth": [0, 1]}, "space.depth: 1 <= depth <= 6"),
        ({"depth": {"low": 1, "high": 8}}, "space.depth.high: 1 <= depth <= 6"),
        ({"depth": 2.5}, "space.depth: a whole number is needed (or all), but got 2.5"),
        ({"depth": True}, "space.depth: a whole number is needed (or all), but got True"),
        ({"depth": []}, "space.depth: the list is empty; name at least one value, or remove the line"),
        ({"depth": [2, 2]}, "space.depth: each value may be named only once, but got [2, 2]"),
        ({"depth": ["all", "all"]}, "each value may be named only once"),
        ({"depth": {"low": 3, "high": 1}}, "space.depth: `low <= high` must hold, but got low 3 and high 1"),
        ({"depth": {"low": 1}}, "{low, high, step} is needed, but got {'low': 1}"),
        ({"depth": {"low": 1, "high": 2, "by": 1}}, "{low, high, step} is needed"),
        ({"depth": {"low": 1, "high": 2, "step": 0}}, "space.depth.step: a whole number above 0 is needed, but got 0"),
        ({"depth": {"low": 1, "high": 2, "step": 0.5}}, "a whole number above 0 is needed, but got 0.5"),
        (
            {"head_sparsity": 1},
            "space.head_sparsity: `0 <= head_sparsity < 1` must hold (the fraction removed), but got 1",
        ),
        ({"ffn_sparsity": [0, -0.1]}, "`0 <= ffn_sparsity < 1` must hold"),
        ({"ffn_sparsity": [False]}, "must hold (the fraction removed), but got False"),
        ({"ffn_sparsity": "all"}, "but got 'all'"),
        ({"ffn_sparsity": float("nan")}, "but got nan"),
        ({"ffn_sparsity": [0, 0.0]}, "each value may be named only once"),
        (
            {"ffn_sparsity": {"low": 0, "high": 0.5}},
            "space.ffn_sparsity.step: a number above 0 is needed, but got None",
        ),
        (
            {"ffn_sparsity": {"low": 0, "high": 0.5, "step": 1e-7}},
            "steps of 1e-07 give 5000001 values; at most 1000 are allowed",
        ),
        (
            {"weight_bits": 3},
            "s.yaml: space.weight_bits: onnxruntime cannot run 3; available: 32, 16, 8, 4, 2",
        ),
        (
            {"embedding_bits": [8, 2]},
            "space.embedding_bits: onnxruntime cannot run 2; available: 32, 8, 4",
        ),
        ({"weight_bits": "8"}, "space.weight_bits: a whole number is needed, but got '8'"),
        (
            {"attention": "sparse"},
            "space.attention: onnxruntime cannot run sparse; available: full, linear, local",
        ),
        ({"attention": 3}, "space.attention: a name is needed, but got 3"),
        ({"attention": {"low": 1, "high": 2}}, "space.attention: a list, one value"),
        (
            {"attention": ["full", "local"]},
            "space.attention: local attention needs a window; add e.g. attention_window",
        ),
        ({"attention_window": 32}, "space.attention_window: only local attention has a window; add local to attention"),
        ({"attention": "local", "attention_window": 1}, "space.attention_window: attention_window >= 2 must hold"),
    ],
)
def test_each_mistake_is_one_sentence_with_its_place(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_initial_recipes_of_a_space_are_tried_instead_of_the_packaged_ones() -> None:
    spec = {"depth": {"low": 1, "high": "all"}, "head_sparsity": [0, 0.25, 0.5], "weight_bits": [8, 2]}
    space = resolved({**spec, "initial": [{"depth": "1/3", "head_sparsity": 0.3, "weight_bits": 4}, {}]})
    # 4 bits are as near to 8 as to 2 in powers of two, and 8 remove less; what is absent is neutral, or nearest to it
    assert space.initial_recipes() == [
        Recipe(depth=2, head_sparsity=0.25, weight_bits=8),
        Recipe(depth=6, weight_bits=8),
    ]
    assert resolved({**spec, "initial": []}).initial_recipes() == []
    assert len(resolved(spec).initial_recipes()) > 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 2}, "s.yaml: space.initial.0.depth: a fraction of the teacher's layers from 0 to 1 is needed"),
        ({"depth": "1/0"}, "e.g. 0.5 or 2/3, but got '1/0'"),
        ({"ffn_sparsity": True}, "space.initial.0.ffn_sparsity: a fraction from 0 to 1 is needed"),
        ({"weight_bits": 0.5}, "space.initial.0.weight_bits: a whole number is needed, but got 0.5"),
        ({"attention": 1}, "space.initial.0.attention: a name is needed, but got 1"),
    ],
)
def test_each_mistake_in_an_initial_recipe_is_one_sentence_with_its_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved({"initial": [values]})
    assert message in str(caught.value)


def test_subnets_are_drawn_as_when_super_nets_were_cached() -> None:
    """The numbers are those of the first version: other draws would train another super-net under the same key."""
    sparsities = {"head_sparsity": {"low": 0, "high": 0.75, "step": 0.125}, "ffn_sparsity": [0, 0.5, 0.75]}
    space, rng = resolved({"depth": [1, 2, 3, 4, 5, 6], **sparsities, "weight_bits": [8, 4]}), np.random.default_rng(0)
    drawn = [space.draw_subnet(rng) for _ in range(6)]
    assert drawn == [
        Recipe(depth=depth, head_sparsity=heads, ffn_sparsity=neurons)
        for depth, heads, neurons in (
            (6, 0.625, 0.75), (2, 0.5, 0.5), (1, 0.375, 0.5), (5, 0.625, 0.75), (4, 0.625, 0.75), (5, 0.625, 0.75)
        )
    ]  # fmt: skip
    assert space.smallest_subnet() == Recipe(depth=1, head_sparsity=0.75, ffn_sparsity=0.75)


def test_draw_reaches_every_recipe_of_the_space() -> None:
    space = resolve_space(
        {"depth": [1, 2], "attention": ["full", "local"], "attention_window": [4, 8]}, Anatomy(3), {}, "x"
    )
    drawn = {space.draw(Random(seed)) for seed in range(100)}
    assert all(space.contains(recipe) for recipe in drawn)
    assert len(drawn) == space.size()
