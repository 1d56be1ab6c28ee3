"""F1, the harmonic mean of precision and recall, 0 to 1: of label 1 for two labels, else the mean over labels."""

from __future__ import annotations

import numpy as np

from autocompress.metrics import Metric, check_sizes, evaluate_module, is_copy


def compute(predictions: np.ndarray, references: np.ndarray, average: str = "auto") -> float:
    """Return the F1 of integer labels `(rows,)`: 2 · hits ÷ (predicted + actual); 0 for a label that never occurs.

    `average`: "binary" is the F1 of label 1; "macro" is the mean over the labels that occur in either array; "auto" is
    binary if no label is above 1, else macro. ValueError if the arrays are empty, differ in size, or have a negative label.
    """
    check_sizes(predictions, references)
    if average not in ("auto", "binary", "macro"):
        raise ValueError(f"average must be auto, binary or macro, but got {average!r}")
    labels = max(int(predictions.max()), int(references.max()), 1) + 1
    hits = np.bincount(references[predictions == references], minlength=labels)
    occurrences = np.bincount(predictions, minlength=labels) + np.bincount(references, minlength=labels)
    return _average(hits, occurrences, average)


def count(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return (rows, 2 · labels): whether a label is hit, then how often it occurs in prediction and reference."""
    labels = np.arange(max(int(predictions.max()), int(references.max()), 1) + 1)
    predicted, actual = predictions[:, None] == labels, references[:, None] == labels
    return np.concatenate((predicted & actual, predicted.astype(np.int64) + actual), axis=1)


def from_counts(sums: np.ndarray) -> np.ndarray:
    """Return the F1 of each selection of rows, binary where no label above 1 occurs in it."""
    hits, occurrences = np.split(sums.reshape(-1, sums.shape[-1]), 2, axis=1)
    scores = [_average(*selection, "auto") for selection in zip(hits, occurrences, strict=True)]
    return np.array(scores).reshape(sums.shape[:-1])


def _average(hits: np.ndarray, occurrences: np.ndarray, average: str) -> float:
    """Return the F1 of label 1, or the mean over the labels that occur; hits and occurrences are (labels,)."""
    scores = 2.0 * hits / np.maximum(occurrences, 1)
    if average == "binary" or (average == "auto" and not occurrences[2:].any()):
        return float(scores[1])
    return float(scores[occurrences > 0].mean())


METRIC = Metric(name="f1", reads=("labels",), compute=compute, counts=count, from_counts=from_counts)
if is_copy(__name__):
    Module = evaluate_module(METRIC, __name__)
