"""Fraction of correct predictions, 0 to 1."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray


def compute(predictions: NDArray[np.int64], references: NDArray[np.int64]) -> float:
    """Return the accuracy of integer labels `(examples,)`; ValueError if the arrays are empty or differ in size."""
    if predictions.shape != references.shape or not references.size:
        raise ValueError(
            f"as many predictions as labels are needed, at least 1, but got {predictions.size}, {references.size}"
        )
    return float((predictions == references).mean())


class Accuracy(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
    """Accuracy as an `evaluate` module: `{"accuracy": float}`."""

    def _info(self) -> evaluate.MetricInfo:
        labels = datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(
            description=__doc__ or "",
            citation="",
            inputs_description="predictions, references: integer labels from 0",
            features=labels,
            format="numpy",
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": compute(np.asarray(predictions), np.asarray(references))}
