"""The structure of a candidate: what the numbers of a recipe resolve to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from autocompress.models.importance import Importance

FILE = "structure.json"
Details = Mapping[str, object]  # JSON types


@dataclass(frozen=True)
class Structure:
    """The layers that a candidate keeps, and the numbers of heads and neurons of each. Which ones follow from importance."""

    kept_layers: tuple[int, ...]  # indices of the teacher's layers
    heads: tuple[int, ...]
    neurons: tuple[int, ...]
    details: Details = field(default_factory=dict)  # of other decisions, by their names

    @classmethod
    def of_teacher(cls, importance: Importance) -> Structure:
        """Return the structure in which nothing is removed."""
        layers, heads = importance.heads.shape
        return cls(tuple(range(layers)), (heads,) * layers, (importance.neurons.shape[1],) * layers)

    def as_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return asdict(self)


def save_structure(structure: Structure, folder: Path) -> None:
    """Write a structure to a folder."""
    (folder / FILE).write_text(json.dumps(structure.as_json()) + "\n", encoding="utf-8")


def load_structure(folder: Path) -> Structure:
    """Read what `save_structure` wrote."""
    values = json.loads((folder / FILE).read_text(encoding="utf-8"))
    layers, heads, neurons = (tuple(values[name]) for name in ("kept_layers", "heads", "neurons"))
    return Structure(layers, heads, neurons, values["details"])


def count_best(scores: np.ndarray, fraction: float, group: int = 1, shared: bool = False) -> np.ndarray:
    """Return how many units each layer keeps (layers,): the best `fraction` of all, in whole groups, at least one a layer.

    `scores` is (layers, units). The units of a layer are sorted by score and form groups of `group` units, so that every layer
    keeps a multiple of it. Groups are ranked over the whole model by their mean score. Shared layers keep the same units.
    """
    import numpy as np

    if shared:
        return np.repeat(count_best(scores[:1], fraction, group), len(scores))
    layers, units = scores.shape
    best_first = -np.sort(-scores, axis=1)
    grouped = best_first.reshape(layers, units // group, group).mean(axis=2)
    keep = max(layers, round(fraction * grouped.size))
    ranked = grouped.copy()
    ranked[:, 0] = np.inf  # every layer keeps its best group
    selected = np.zeros(grouped.size, bool)
    selected[np.argsort(-ranked, axis=None, kind="stable")[:keep]] = True
    return np.asarray(selected.reshape(grouped.shape).sum(axis=1) * group)


def best_units(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the sorted indices of the `count` units of one layer with the highest scores (units,)."""
    import numpy as np

    return np.sort(np.argsort(-scores, kind="stable")[:count])
