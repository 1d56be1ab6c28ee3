"""A recipe: the compression decisions of one candidate, in the order in which they are applied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from autocompress.core.domain import Anatomy
from autocompress.core.scalar import Scalar
from autocompress.core.technique import active_techniques, ordered_techniques

__all__ = ["Recipe", "Scalar"]


class Recipe(Mapping[str, Scalar]):
    """A frozen mapping from every decision to its value: `Recipe(depth=3)["depth"]`. Absent decisions are neutral.

    A decision that does not apply is null, so that equal candidates are equal recipes. So is a decision whose neutral value
    depends on the teacher (the number of layers kept) where the teacher is not known.
    """

    def __init__(self, **values: Scalar) -> None:
        techniques = ordered_techniques()
        if unknown := [name for name in values if name not in techniques]:
            raise TypeError(f"unknown decision {unknown[0]!r}; available: {', '.join(techniques)}")
        self._values = {
            name: values[name] if name in values else technique.neutral(None) for name, technique in techniques.items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Scalar]) -> Recipe:
        """Return the recipe of a mapping; absent decisions are neutral, unknown ones raise TypeError."""
        return cls(**values)

    @classmethod
    def from_stored(cls, values: Mapping[str, Scalar]) -> Recipe:
        """Return a recipe that another version may have stored; decisions that are not known here are left out."""
        return cls(**{name: value for name, value in values.items() if name in ordered_techniques()})

    @classmethod
    def of_teacher(cls, anatomy: Anatomy) -> Recipe:
        """Return the recipe of the unchanged teacher."""
        return cls(**{name: technique.neutral(anatomy) for name, technique in ordered_techniques().items()})

    def __getitem__(self, name: str) -> Scalar:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, Recipe) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Callable[[Mapping[str, Scalar]], Recipe], tuple[dict[str, Scalar]]]:
        return Recipe.from_dict, (self._values,)

    def __repr__(self) -> str:
        return f"Recipe({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(self._values.values()))

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical JSON of the decisions that are not neutral, so that a new decision changes no old key."""
        active = {
            name: self[name]
            for name, technique in ordered_techniques().items()
            if self[name] != technique.neutral(None)
        }
        return hashlib.sha256(json.dumps(active, sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Scalar]:
        """Return `{decision: value}` in the order of application."""
        return dict(self._values)

    def replace(self, **changes: Scalar) -> Recipe:
        """Return the recipe with some other values."""
        return Recipe(**{**self._values, **changes})

    def trained(self) -> Recipe:
        """Return the recipe with neutral values of all that no training reads: one training serves every such recipe.

        A training reads the decisions about data, structure and training, and what an active decision about training names
        in its `reads`.
        """
        techniques = ordered_techniques()
        read = {name for name, technique in techniques.items() if technique.is_trained}
        for technique in active_techniques(self).values():
            if technique.stage == "training":
                read |= set(technique.reads)
        return Recipe(**{name: value for name, value in self.items() if name in read})

    def shares_weights(self, other: Recipe) -> bool:
        """Whether one training serves both recipes; a recipe that shares those of the teacher needs none."""
        return self.trained() == other.trained()

    def describe(self) -> str:
        """Return one short line, e.g. `3 layers · −67% heads · 8-bit`."""
        parts: list[str] = []
        for name, technique in ordered_techniques().items():
            text = technique.describe(self[name])
            if text and technique.is_part_of_read and parts:
                parts[-1] += f" {text}"
            elif text:
                parts.append(text)
        return " · ".join(parts)
