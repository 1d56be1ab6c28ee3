"""Choose what to try next for trained weights: other values of the decisions that need no training."""

from __future__ import annotations

from collections.abc import Mapping

from autocompress.core.recipe import Recipe, Scalar
from autocompress.space.space import Space


def next_exports(space: Space, recipe: Recipe) -> list[Recipe]:
    """Return the recipes with the same weights and the next smaller and the next larger value of one decision.

    Names have the order in which the space lists them. Where `recipe` is on the front, these recipes often are, too.
    """
    siblings, proposals = space.siblings(recipe), []
    for decision in space.free:
        by_value = {sibling[decision]: sibling for sibling in siblings if _differs_only_in(decision, sibling, recipe)}
        proposals += _neighbours(by_value, recipe[decision], space.choices[decision])
    return proposals


def _differs_only_in(decision: str, one: Recipe, other: Recipe) -> bool:
    return [name for name in one if one[name] != other[name]] == [decision]


def _neighbours(by_value: Mapping[Scalar, Recipe], value: Scalar, choices: tuple[Scalar, ...]) -> list[Recipe]:
    """Return the recipe of the value before and of the value after `value`, as far as there are any."""
    order = {choice: index for index, choice in enumerate(sorted(choices, key=lambda choice: _rank(choice, choices)))}
    if value not in order:  # it does not apply
        return []
    before = sorted((other for other in by_value if order[other] < order[value]), key=order.__getitem__)
    after = sorted((other for other in by_value if order[other] > order[value]), key=order.__getitem__)
    return [by_value[other] for other in (*before[-1:], *after[:1])]


def _rank(choice: Scalar, choices: tuple[Scalar, ...]) -> float:
    return float(choice) if isinstance(choice, (int, float)) else choices.index(choice)
