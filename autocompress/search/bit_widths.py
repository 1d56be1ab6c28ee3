"""Choose the bit-widths to try next for trained weights; such trials need no training."""

from __future__ import annotations

from autocompress.core.recipe import AFTER_RECOVERY, Recipe
from autocompress.space.space import Space


def next_bits(space: Space, recipe: Recipe) -> list[Recipe]:
    """Return the recipes with the next smaller and the next larger width of one bit decision.

    They have the same weights, and where `recipe` is on the front they often are, too.
    """
    values, proposals = recipe.as_dict(), []
    for decision in AFTER_RECOVERY:
        width = int(values[decision] or 0)
        siblings = [
            sibling
            for sibling in space.siblings(recipe)
            if all(sibling.as_dict()[name] == values[name] for name in AFTER_RECOVERY if name != decision)
        ]
        by_width = {int(sibling.as_dict()[decision] or 0): sibling for sibling in siblings}
        smaller, larger = [w for w in by_width if w < width], [w for w in by_width if w > width]
        proposals += [by_width[max(smaller)]] if smaller else []
        proposals += [by_width[min(larger)]] if larger else []
    return proposals
