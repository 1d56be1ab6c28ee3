"""F1, the harmonic mean of precision and recall, 0 to 1: of label 1 for two labels, else the mean over labels."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray


def compute(predictions: NDArray[np.int64], references: NDArray[np.int64], average: str = "auto") -> float:
    """Return the F1 of integer labels `(examples,)`: 2 · hits ÷ (predicted + actual); 0 for a label that never occurs.

    `average`: "binary" is the F1 of label 1; "macro" is the mean over the labels that occur in either array; "auto" is
    binary if no label is above 1, else macro. ValueError if the arrays are empty, differ in size, or have a negative label.
    """
    if predictions.shape != references.shape or not references.size:
        raise ValueError(
            f"as many predictions as labels are needed, at least 1, but got {predictions.size}, {references.size}"
        )
    if average not in ("auto", "binary", "macro"):
        raise ValueError(f"average must be auto, binary or macro, but got {average!r}")
    labels = max(int(predictions.max()), int(references.max()), 1) + 1
    hits = np.bincount(references[predictions == references], minlength=labels)
    occurrences = np.bincount(predictions, minlength=labels) + np.bincount(references, minlength=labels)
    scores = 2.0 * hits / np.maximum(occurrences, 1)
    if average == "binary" or (average == "auto" and labels == 2):
        return float(scores[1])
    return float(scores[occurrences > 0].mean())


class F1(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
    """F1 as an `evaluate` module: `{"f1": float}`."""

    def _info(self) -> evaluate.MetricInfo:
        labels = datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(
            description=__doc__ or "",
            citation="",
            inputs_description="predictions, references: integer labels from 0; average: auto, binary or macro",
            features=labels,
            format="numpy",
        )

    def _compute(self, predictions: Any, references: Any, average: str = "auto") -> dict[str, float]:
        return {"f1": compute(np.asarray(predictions), np.asarray(references), average)}
