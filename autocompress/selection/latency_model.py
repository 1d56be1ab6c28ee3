"""The latency of candidates that were not built, learned from those that were measured on this device.

A forward pass is a sum: a constant, and for every layer what its attention and its feed-forward cost, which are straight
lines in heads and neurons. The last layer computes one position only, so it has lines of its own; so has every
attention and width of weights. Tokens, batch and threads are the study's, and so the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autocompress.core.measurement import TrialRow
from autocompress.core.recipe import Recipe

FEWEST = 16  # different shapes; with less there is no table
RIDGE, OWN_RIDGE = (
    1e-3,
    2e-2,
)  # pull the lines of an attention and width to the common ones, until it has enough of its own
COVERED = 0.95  # of the shapes lie within the stated error

Floats = NDArray[np.float64]
Kind = tuple[str, int]  # attention, bits of the weights


@dataclass(frozen=True)
class Shape:
    """What the latency of a candidate depends on."""

    heads: tuple[int, ...]  # of each kept layer
    neurons: tuple[int, ...]
    kind: Kind
    embedding_bits: int

    @classmethod
    def of(cls, recipe: Recipe, heads: Sequence[int], neurons: Sequence[int]) -> Shape:
        """The shape that a recipe came out as."""
        return cls(tuple(heads), tuple(neurons), (recipe.attention, recipe.weight_bits), recipe.embedding_bits)


@dataclass(frozen=True)
class LatencyTable:
    """Predicts latencies in milliseconds, and knows how far it is off."""

    kinds: tuple[Kind, ...]  # that were seen
    weights: Floats
    error: float  # relative; 95 % of the shapes, each predicted from the others, were within it
    shapes: int  # that it learned from

    @classmethod
    def learned(cls, rows: Sequence[TrialRow]) -> LatencyTable | None:
        """The table of some measured rows; null where they are too few.

        Least squares of the relative error, with a ridge. The error is that of each shape predicted from all others
        (leave one out, in closed form); rows of one shape count once, so that none is predicted from itself.
        """
        seen: dict[Shape, list[float]] = {}
        for row in rows:
            if row.trial and row.state == "complete" and row.latency_ms and row.heads and row.neurons:
                seen.setdefault(Shape.of(row.recipe, row.heads, row.neurons), []).append(row.latency_ms)
        if len(seen) < FEWEST:
            return None
        kinds = tuple(sorted({shape.kind for shape in seen}))
        latencies = np.array([np.mean(values) for values in seen.values()])
        features = np.array([_features(shape, kinds) for shape in seen]) / latencies[:, None]
        common = features.shape[1] - len(kinds) * LINES
        inverse = np.linalg.inv(features.T @ features + np.diag([RIDGE] * common + [OWN_RIDGE] * (len(kinds) * LINES)))
        weights = inverse @ features.sum(axis=0)
        leverage = np.einsum("ij,jk,ik->i", features, inverse, features)
        errors = np.abs(1 - features @ weights) / np.maximum(1 - leverage, 1e-3)
        return cls(kinds, weights, float(np.quantile(errors, COVERED)), len(seen))

    def predict(self, shape: Shape) -> float | None:
        """Milliseconds; null for an attention or a width of weights that was never measured."""
        if shape.kind not in self.kinds:
            return None
        return max(0.0, float(_features(shape, self.kinds) @ self.weights))

    def describe(self) -> str:
        """Describe the accuracy of the predictions in one sentence."""
        return (
            f"latency of unmeasured candidates was predicted within ± {100 * self.error:.0f} % (95 % of {self.shapes} "
            "measured shapes, each predicted from the others)"
        )


LINES = 6


def _features(shape: Shape, kinds: Sequence[Kind]) -> Floats:
    lines = np.array(
        [1, len(shape.heads) - 1, sum(shape.heads[:-1]), sum(shape.neurons[:-1]), shape.heads[-1], shape.neurons[-1]]
    )
    lines = lines / [1, 1, 10, 1000, 10, 1000]  # to numbers around 1, so that the ridge treats them alike
    own = [lines if kind == shape.kind else np.zeros(LINES) for kind in kinds]
    return np.concatenate([[1.0 / shape.embedding_bits], lines, *own])
