"""The search space: the values that each decision may take, and the recipes made of them.

A domain is a short tuple of values, so a space is finite: its recipes can be counted, compared and enqueued. All free
decisions are always suggested, since samplers model flat spaces best; `canonical` then sets decisions that do not apply to
null, so that equal candidates are equal recipes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from math import prod
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from autocompress.core.recipe import AFTER_RECOVERY, Recipe, Scalar
from autocompress.space.initial_recipes import INITIAL_RECIPES, nearest_value

if TYPE_CHECKING:
    from numpy.random import Generator

SPARSITIES = HEADS, NEURONS = ("head_sparsity", "ffn_sparsity")
WINDOWED_ATTENTION = "local"  # the attention to which `attention_window` applies


class Trial(Protocol):
    """The methods of an Optuna trial that a space uses."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float: ...


@dataclass(frozen=True)
class Space:
    """The values that each decision may take, in the order of application. A decision with one value is fixed."""

    layers: int  # of the teacher
    choices: Mapping[str, tuple[Scalar, ...]]

    @property
    def free(self) -> tuple[str, ...]:
        """The decisions that are searched: those with several values."""
        return tuple(name for name, values in self.choices.items() if len(values) > 1)

    def suggest(self, trial: Trial) -> Recipe:
        """Ask an Optuna trial for every free decision, under its own name, and return the recipe."""
        return self.canonical({name: _suggest_value(trial, name, self.choices[name]) for name in self.free})

    def canonical(self, values: Mapping[str, Scalar]) -> Recipe:
        """Return the recipe of some values.

        Absent decisions get their first value, rounding errors are removed, depth becomes a number, and decisions that do
        not apply become null.
        """
        full = {name: _snap_to_choice(values.get(name, choices[0]), choices) for name, choices in self.choices.items()}
        full["depth"] = self.layers if full["depth"] is None else full["depth"]
        if full["attention"] != WINDOWED_ATTENTION:
            full["attention_window"] = None
        return Recipe.from_dict(full)

    def contains(self, recipe: Recipe) -> bool:
        """Return whether the recipe is canonical and all its values belong to this space."""
        values = recipe.as_dict()
        inactive = "attention_window" if recipe.attention != WINDOWED_ATTENTION else ""
        has_valid_values = all(name == inactive or values[name] in choices for name, choices in self.choices.items())
        return has_valid_values and self.canonical(values) == recipe

    def params(self, recipe: Recipe) -> dict[str, Scalar]:
        """Return the free decisions of a recipe for `study.enqueue_trial`; null ones get their first value."""
        if not self.contains(recipe):
            raise ValueError(f"the recipe is not in this space: {recipe}")
        values = recipe.as_dict()
        return {name: self.choices[name][0] if values[name] is None else values[name] for name in self.free}

    def size(self) -> int:
        """Return the number of different recipes."""
        windows = len(self.choices["attention_window"])
        attentions = sum(windows if attention == WINDOWED_ATTENTION else 1 for attention in self.choices["attention"])
        return attentions * prod(len(self.choices[name]) for name in self.choices if not name.startswith("attention"))

    def siblings(self, recipe: Recipe) -> list[Recipe]:
        """Return the other recipes of this space that differ in bit-widths only: one training serves them all."""
        values = recipe.as_dict()
        bits = product(*(self.choices[name] for name in AFTER_RECOVERY))
        recipes = [Recipe.from_dict({**values, **dict(zip(AFTER_RECOVERY, pair, strict=True))}) for pair in bits]
        return [sibling for sibling in recipes if sibling != recipe]

    def usual_bits(self) -> dict[str, Scalar]:
        """Return the bit-widths, of the free ones, in which a structure is tried first.

        Weights: 8 bits, the fastest, or the nearest choice. Embeddings: the fewest bits, which hardly cost time.
        """
        preferred = {"weight_bits": 8, "embedding_bits": 1}
        return {
            name: nearest_value(name, self.choices[name], preferred[name])
            for name in AFTER_RECOVERY
            if name in self.free
        }

    def initial_recipes(self) -> list[Recipe]:
        """Return at most 8 different recipes to try first: for each known good one, the nearest in this space."""
        return list(dict.fromkeys(self._nearest_recipe(values) for values in INITIAL_RECIPES))

    def draw(self, rng: Random) -> Recipe:
        """Draw a recipe; all values of a decision are equally likely."""
        return self.canonical({name: rng.choice(choices) for name, choices in self.choices.items()})

    def draw_structure(self, rng: Generator) -> Recipe:
        """Draw a depth, and sparsities from the upper half of their values; attention and bits are neutral."""
        depth = int(rng.choice([int(value or self.layers) for value in self.choices["depth"]]))
        heads, neurons = (float(rng.choice(self._upper_half(name))) for name in SPARSITIES)
        return Recipe(depth=depth, head_sparsity=heads, ffn_sparsity=neurons)

    def smallest(self) -> Recipe:
        """Return the recipe with the least depth and the largest sparsities; attention and bits are neutral."""
        depth = min(int(value or self.layers) for value in self.choices["depth"])
        return Recipe(depth=depth, head_sparsity=max(self._numbers(HEADS)), ffn_sparsity=max(self._numbers(NEURONS)))

    def _numbers(self, name: str) -> list[float]:
        return [float(value or 0) for value in self.choices[name]]

    def _upper_half(self, name: str) -> list[float]:
        numbers = sorted(self._numbers(name))
        return numbers[len(numbers) // 2 :]

    def _nearest_recipe(self, initial: Mapping[str, Scalar]) -> Recipe:
        values = {**initial, "depth": float(initial["depth"] or 0) * self.layers}
        return self.canonical(
            {name: nearest_value(name, choices, values.get(name)) for name, choices in self.choices.items()}
        )


def _suggest_value(trial: Trial, name: str, values: tuple[Scalar, ...]) -> Scalar:
    """Suggest evenly spaced numbers as a stepped range, so that samplers know their order; all else as categories."""
    numbers = sorted(value for value in values if isinstance(value, (int, float)))
    steps = {Fraction(str(after)) - Fraction(str(before)) for before, after in pairwise(numbers)}
    if len(numbers) < len(values) or len(steps) != 1:
        choice: Scalar = trial.suggest_categorical(name, list(values))
        return choice
    low, high, (step,) = numbers[0], numbers[-1], steps
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, step=int(step))
    return trial.suggest_float(name, low, high, step=float(step))


def _snap_to_choice(value: Scalar, choices: tuple[Scalar, ...]) -> Scalar:
    """Return the choice that equals a number up to rounding: 0.30000000000000004 is 0.3, and 0 is 0.0."""
    if isinstance(value, (int, float)):
        for choice in choices:
            if isinstance(choice, (int, float)) and abs(choice - value) < 1e-9:
                return choice
    return value
