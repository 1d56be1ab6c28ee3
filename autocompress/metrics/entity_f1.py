"""F1 of entities, 0 to 1: a predicted entity is right if its type, its first word and its last word are; as in seqeval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autocompress.data.entities import find_entities, has_scheme
from autocompress.metrics import Metric, check_sizes, evaluate_module, is_copy


def compute(predictions: np.ndarray, references: np.ndarray) -> float:
    """Return the micro-averaged F1 of entities: 2 · right ÷ (predicted + actual); 0 where there are none.

    Arrays `(rows,)` hold a tuple of tags for each row, one of each word: IOB2, IOBES or BILOU. This is seqeval's default mode
    (Nakayama 2018), where BILOU counts as IOBES. ValueError if the arrays are empty, or a row has other than one prediction
    for each word.
    """
    check_sizes(predictions, references)
    return float(from_counts(count(predictions, references).sum(0)))


def count(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return (rows, 3): entities that are predicted right, predicted entities, actual entities."""
    counts = np.empty((len(references), 3), np.int64)
    for row, (predicted, actual) in enumerate(zip(predictions, references, strict=True)):
        if len(predicted) != len(actual):
            raise ValueError(f"row {row + 1} has {len(predicted)} predicted tags for {len(actual)} words")
        found, expected = find_entities(predicted), find_entities(actual)
        counts[row] = len(set(found) & set(expected)), len(found), len(expected)
    return counts


def from_counts(sums: np.ndarray) -> np.ndarray:
    """Return the F1 of each selection of rows."""
    entities = np.asarray(sums[..., 1] + sums[..., 2])
    return np.asarray(2.0 * sums[..., 0] / np.maximum(entities, 1))


def objection(names: Sequence[str]) -> str | None:
    """Return why tags of these names mark no entities, or null."""
    if has_scheme(names):
        return None
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"entity_f1 needs tags such as B-PER, I-PER and O (IOB2, IOBES or BILOU), but they are {shown}; use accuracy"


METRIC = Metric(
    name="entity_f1",
    reads=("tags",),
    compute=compute,
    counts=count,
    from_counts=from_counts,
    value_type="string",
    is_sequence=True,
    objection=objection,
)
if is_copy(__name__):
    Module = evaluate_module(METRIC, __name__)
