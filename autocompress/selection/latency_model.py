"""A linear model of the latency of candidates that were not built, fitted to those that were measured on this device.

The latency of a forward pass is a constant plus the costs of every layer's attention and feed-forward, which are linear in
heads and neurons. The last layer computes one position only, so it has coefficients of its own; so has every combination of
decisions with kernels of their own (attention, width of weights). Tokens, batch and threads are settings of the study, and the
same for all candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autocompress.core.recipe import Recipe
from autocompress.core.scalar import Scalar
from autocompress.core.technique import ordered_techniques
from autocompress.core.trial_row import TrialRow

FEWEST = 16  # different shapes; with fewer there is no table
RIDGE, KIND_RIDGE = 1e-3, 2e-2  # the larger one pulls the coefficients of a kind with few shapes to the common ones
COVERED = 0.95  # fraction of the shapes that lie within the stated error
TERMS = 6  # coefficients of each kind

Floats = NDArray[np.float64]
Kind = tuple[Scalar, ...]  # values of the decisions with kernels of their own, e.g. attention and bits of the weights


@dataclass(frozen=True)
class Shape:
    """The properties of a candidate that its latency depends on."""

    heads: tuple[int, ...]  # of each kept layer
    neurons: tuple[int, ...]
    kind: Kind
    sizes: tuple[Scalar, ...]  # values of the decisions whose cost grows with 1 ÷ value, e.g. bits of the embeddings

    @classmethod
    def of(cls, recipe: Recipe, heads: Sequence[int], neurons: Sequence[int]) -> Shape:
        """Return the shape of a built recipe."""
        roles = {name: technique.latency_role for name, technique in ordered_techniques().items()}
        kind, sizes = (tuple(recipe[name] for name in roles if roles[name] == role) for role in ("kernel", "size"))
        return cls(tuple(heads), tuple(neurons), kind, sizes)


@dataclass(frozen=True)
class LatencyTable:
    """Predicts latencies in milliseconds, with a known error."""

    kinds: tuple[Kind, ...]  # that were measured
    weights: Floats
    error: float  # relative; 95 % of the shapes, each predicted from the others, were within it
    shapes: int  # that it was fitted to

    @classmethod
    def fit(cls, rows: Sequence[TrialRow]) -> LatencyTable | None:
        """Fit the table to measured rows; null where they have fewer than 16 shapes.

        Ridge regression of the relative error. The stated error is that of each shape predicted from all others (leave one
        out, in closed form); rows of one shape count once, so that none is predicted from itself.
        """
        measured: dict[Shape, list[float]] = {}
        for row in rows:
            if row.trial and row.state == "complete" and row.latency_ms and row.heads and row.neurons:
                measured.setdefault(Shape.of(row.recipe, row.heads, row.neurons), []).append(row.latency_ms)
        if len(measured) < FEWEST:
            return None
        kinds = tuple(sorted({shape.kind for shape in measured}, key=str))
        latencies = np.array([np.mean(values) for values in measured.values()])
        features = np.array([_features(shape, kinds) for shape in measured]) / latencies[:, None]
        common = features.shape[1] - len(kinds) * TERMS
        inverse = np.linalg.inv(features.T @ features + np.diag([RIDGE] * common + [KIND_RIDGE] * (len(kinds) * TERMS)))
        weights = inverse @ features.sum(axis=0)
        leverage = np.einsum("ij,jk,ik->i", features, inverse, features)
        errors = np.abs(1 - features @ weights) / np.maximum(1 - leverage, 1e-3)
        return cls(kinds, weights, float(np.quantile(errors, COVERED)), len(measured))

    def predict(self, shape: Shape) -> float | None:
        """Predict milliseconds; null for kernels that were never measured."""
        if shape.kind not in self.kinds:
            return None
        return max(0.0, float(_features(shape, self.kinds) @ self.weights))

    def describe(self) -> str:
        """Describe the accuracy of the predictions."""
        return f"± {100 * self.error:.0f} % for 95 % of {self.shapes} shapes, each predicted from the others"


def _features(shape: Shape, kinds: Sequence[Kind]) -> Floats:
    """Return (sizes + TERMS · (1 + kinds),): 1 ÷ each size, common terms, and the terms of each kind."""
    terms = np.array(
        [1, len(shape.heads) - 1, sum(shape.heads[:-1]), sum(shape.neurons[:-1]), shape.heads[-1], shape.neurons[-1]]
    )
    terms = terms / [1, 1, 10, 1000, 10, 1000]  # to numbers around 1, so that the ridge treats them alike
    of_kinds = [terms if kind == shape.kind else np.zeros(TERMS) for kind in kinds]
    inverse = [1.0 / size if isinstance(size, (int, float)) and size else 0.0 for size in shape.sizes]
    return np.concatenate([inverse, terms, *of_kinds])
