"""Matthews correlation of predictions and labels, -1 to 1, 0 for guessing; robust to unequal label frequencies."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray


def compute(predictions: NDArray[np.int64], references: NDArray[np.int64]) -> float:
    """Return the Matthews correlation of integer labels `(examples,)`, for any number of labels (Gorodkin 2004).

    It is 0 where it is undefined: all predictions, or all labels, are equal. ValueError if the arrays are empty, differ in
    size, or have a negative label.
    """
    if predictions.shape != references.shape or not references.size:
        raise ValueError(
            f"as many predictions as labels are needed, at least 1, but got {predictions.size}, {references.size}"
        )
    examples = references.size
    labels = max(int(predictions.max()), int(references.max())) + 1
    predicted = np.bincount(predictions, minlength=labels)
    actual = np.bincount(references, minlength=labels)
    covariance = int((predictions == references).sum()) * examples - int(predicted @ actual)
    # Floats, since the product grows with the fourth power of the examples: 64-bit integers overflow from 60,000 on.
    spread = float(examples**2 - predicted @ predicted) * float(examples**2 - actual @ actual)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


class MatthewsCorrelation(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
    """Matthews correlation as an `evaluate` module: `{"matthews_correlation": float}`."""

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
        return {"matthews_correlation": compute(np.asarray(predictions), np.asarray(references))}
