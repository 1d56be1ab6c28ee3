"""The recipes that a search tries first, independent of teacher and space."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2

from autocompress.core.recipe import Scalar


def nearest_value(name: str, choices: tuple[Scalar, ...], value: Scalar) -> Scalar:
    """Return the choice of a decision that is nearest to a value.

    Distances of bit-widths are in powers of two. Between two equally near choices, the one that removes less wins. A value
    that is no number gives itself if it is a choice, else the largest number, else the first choice.
    """
    numbers = [choice for choice in choices if isinstance(choice, (int, float))]
    if not numbers or not isinstance(value, (int, float)):
        return value if value in choices else max(numbers, default=choices[0])
    least_removed_first = sorted(numbers, reverse=not name.endswith("_sparsity"))
    if name.endswith("_bits"):
        return min(least_removed_first, key=lambda number: abs(log2(number) - log2(value)))
    return min(least_removed_first, key=lambda number: abs(number - value))


def _recipe(depth: float, heads: float, neurons: float, bits: int, embedding_bits: int) -> dict[str, Scalar]:
    sparsities = {"head_sparsity": heads, "ffn_sparsity": neurons}
    return {"depth": depth, "attention": "full", **sparsities, "weight_bits": bits, "embedding_bits": embedding_bits}


# Depth is a fraction of the teacher's layers. The first recipe, the teacher in 8 bits, gives a valid front within seconds.
# Then come recipes that cost little to train and promise most, with the corner of the space among them. Deep and thin ones
# keep most of the quality (6 of 6 layers with half the heads and a quarter of the neurons, in int8, is 8 times as fast as
# the fp32 teacher and lost nothing on film reviews), but their least-squares refit takes several times as long.
INITIAL_RECIPES: tuple[Mapping[str, Scalar], ...] = (
    _recipe(1, 0, 0, 8, 8),
    _recipe(1 / 2, 2 / 3, 3 / 4, 8, 4),
    _recipe(1 / 3, 2 / 3, 3 / 4, 8, 4),
    _recipe(0, 1, 1, 8, 1),
    _recipe(2 / 3, 1 / 2, 3 / 4, 8, 4),
    _recipe(1, 1 / 2, 3 / 4, 8, 4),
    _recipe(1, 2 / 3, 7 / 8, 8, 4),
    _recipe(1, 0, 0, 8, 4),
)
