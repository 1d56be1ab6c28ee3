"""The search space: the values that each decision may take, and the recipes made of them.

The choices of a decision are a short tuple, so a space is finite: its recipes can be counted, compared and enqueued. All free
decisions are always suggested, since samplers model flat spaces best; `canonical` then sets decisions that do not apply to
null, so that equal candidates are equal recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise, product
from math import prod
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from autocompress.core.domain import Anatomy
from autocompress.core.recipe import Recipe
from autocompress.core.scalar import Scalar
from autocompress.core.technique import Technique, ordered_techniques, read_values, without_inapplicable

if TYPE_CHECKING:
    from numpy.random import Generator

    from autocompress.space.initial_recipes import InitialValues


class Trial(Protocol):
    """The methods of an Optuna trial that a space uses."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float: ...


@dataclass(frozen=True)
class Space:
    """The values that each decision may take, in the order of application. A decision with one value is fixed."""

    anatomy: Anatomy  # of the teacher
    choices: Mapping[str, tuple[Scalar, ...]]
    initial: tuple[InitialValues, ...] = ()  # values near which the first recipes are wanted

    @property
    def free(self) -> tuple[str, ...]:
        """The decisions that are searched: those with several values."""
        return tuple(name for name, values in self.choices.items() if len(values) > 1)

    @cached_property
    def teacher(self) -> Recipe:
        """The recipe of the unchanged teacher."""
        return Recipe.of_teacher(self.anatomy)

    def changes(self, name: str) -> bool:
        """Return whether the space has a value of a decision that is not the teacher's."""
        return any(value not in (None, self.teacher[name]) for value in self.choices[name])

    @property
    def needs_training(self) -> bool:
        """Whether the space has a candidate whose weights are not the teacher's."""
        return any(technique.is_trained and self.changes(name) for name, technique in ordered_techniques().items())

    def suggest(self, trial: Trial) -> Recipe:
        """Ask an Optuna trial for every free decision, under its own name, and return the recipe."""
        return self.canonical({name: _suggest_value(trial, name, self.choices[name]) for name in self.free})

    def canonical(self, values: Mapping[str, Scalar]) -> Recipe:
        """Return the recipe of some values.

        Absent decisions get their first value, rounding errors are removed, a null that stands for the teacher's own value
        becomes that value, and decisions that do not apply become null.
        """
        full = {name: _snap_to_choice(values.get(name, choices[0]), choices) for name, choices in self.choices.items()}
        full = {name: self.teacher[name] if value is None else value for name, value in full.items()}
        return Recipe.from_dict(without_inapplicable(full))

    def contains(self, recipe: Recipe) -> bool:
        """Return whether the recipe is canonical and all its values belong to this space."""
        return self.canonical(recipe) == recipe and all(
            recipe[name] in choices or not technique.applies(read_values(technique, recipe))
            for (name, choices), technique in zip(self.choices.items(), ordered_techniques().values(), strict=True)
        )

    def params(self, recipe: Recipe) -> dict[str, Scalar]:
        """Return the free decisions of a recipe for `study.enqueue_trial`; null ones get their first value."""
        if not self.contains(recipe):
            raise ValueError(f"the recipe is not in this space: {recipe}")
        return {name: self.choices[name][0] if recipe[name] is None else recipe[name] for name in self.free}

    def size(self) -> int:
        """Return the number of different recipes."""
        techniques = ordered_techniques()
        conditional = [name for name, entry in techniques.items() if _is_conditional(entry)]
        linked = {name for entry in map(techniques.__getitem__, conditional) for name in (entry.name, *entry.reads)}
        combinations = product(*(self.choices[name] for name in linked))
        recipes = {self.canonical(dict(zip(linked, values, strict=True))) for values in combinations}
        return len(recipes) * prod(len(values) for name, values in self.choices.items() if name not in linked)

    def siblings(self, recipe: Recipe) -> list[Recipe]:
        """Return the other recipes of this space that one training serves together with this one."""
        techniques = ordered_techniques()
        untrained = [name for name in self.free if not techniques[name].is_trained]
        combinations = product(*(self.choices[name] for name in untrained))
        recipes = [self.canonical({**recipe, **dict(zip(untrained, values, strict=True))}) for values in combinations]
        return [other for other in dict.fromkeys(recipes) if other != recipe and other.shares_weights(recipe)]

    def first_values(self) -> dict[str, Scalar]:
        """Return the values, of the free decisions without training, in which all other decisions are tried first."""
        techniques = ordered_techniques()
        return {
            name: techniques[name].domain.nearest(self.choices[name], techniques[name].first_value(self.anatomy))
            for name in self.free
            if not techniques[name].is_trained
        }

    def initial_recipes(self) -> list[Recipe]:
        """Return different recipes to try first: for each of `initial`, the nearest in this space."""
        return list(dict.fromkeys(self._nearest_recipe(values) for values in self.initial))

    def draw(self, rng: Random) -> Recipe:
        """Draw a recipe; all values of a decision are equally likely."""
        return self.canonical({name: rng.choice(choices) for name, choices in self.choices.items()})

    def draw_subnet(self, rng: Generator) -> Recipe:
        """Draw a recipe that the super-net is trained in; decisions that it does not know are neutral."""
        return Recipe(**{name: values[int(rng.choice(len(values)))] for name, values in self._subnet_values()})

    def smallest_subnet(self) -> Recipe:
        """Return the smallest of the recipes that the super-net is trained in."""
        techniques = ordered_techniques()
        return Recipe(**{name: techniques[name].domain.smallest(values) for name, values in self._subnet_values()})

    def medium_recipe(self) -> Recipe:
        """Return a middling recipe, with which the cost of a training step is measured."""
        return Recipe(**{name: entry.medium_value(self.anatomy) for name, entry in ordered_techniques().items()})

    def _subnet_values(self) -> Iterable[tuple[str, tuple[Scalar, ...]]]:
        for name, technique in ordered_techniques().items():
            if values := technique.subnet_values(self.choices[name]):
                yield name, values

    def _nearest_recipe(self, initial: InitialValues) -> Recipe:
        techniques = ordered_techniques()
        return self.canonical(
            {
                name: techniques[name].domain.nearest(choices, initial.get(name, self.teacher[name]))
                for name, choices in self.choices.items()
            }
        )


def _is_conditional(technique: Technique) -> bool:
    return type(technique).applies is not Technique.applies


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
