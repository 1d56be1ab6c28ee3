"""The domains of decisions: which values a study file may name, and which of two values is nearer to a third."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log2
from typing import ClassVar

from autocompress.core.errors import UsageError
from autocompress.core.scalar import Scalar, is_number


@dataclass(frozen=True)
class Anatomy:
    """The sizes of a teacher that bound domains and give neutral values."""

    layers: int


class Domain(ABC):
    """The values that a decision may take. `place` begins the message of every UsageError, e.g. `sst2.yaml: space.depth`."""

    value_type: ClassVar[type[int] | type[float] | type[str]]
    values: tuple[Scalar, ...] = ()  # all of them, where they can be listed
    has_ranges: ClassVar[bool] = True  # whether `{low, high, step}` names values
    larger_removes_more: ClassVar[bool] = False

    @abstractmethod
    def parse(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        """Return the value that a study file names by `item`; UsageError where it is outside the domain."""

    @abstractmethod
    def parse_initial(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        """Return the value of an initial recipe, of which a search takes the nearest choice; UsageError where it is none."""

    @abstractmethod
    def describe(self) -> str:
        """Describe the values in one phrase, for the documentation."""

    @abstractmethod
    def examples(self) -> tuple[Scalar, ...]:
        """Return some values of the domain."""

    def nearest(self, choices: Sequence[Scalar], value: Scalar) -> Scalar:
        """Return the choice that is nearest to a value; between two equally near ones, the one that removes less.

        A value that is no number gives itself if it is a choice, else the choice that removes least, else the first one.
        """
        numbers = self._least_removed_first(choices)
        if not numbers or not isinstance(value, (int, float)):
            return value if value in choices else next(iter(numbers), choices[0])
        return min(numbers, key=lambda number: self.distance(number, value))

    def distance(self, one: float, other: float) -> float:
        """Return the distance between two numbers."""
        return abs(one - other)

    def smallest(self, choices: Sequence[Scalar]) -> Scalar:
        """Return the choice that removes most; the last one where choices are names."""
        numbers = self._least_removed_first(choices)
        return numbers[-1] if numbers else choices[-1]

    def _least_removed_first(self, choices: Sequence[Scalar]) -> list[float]:
        numbers = [choice for choice in choices if isinstance(choice, (int, float))]
        return sorted(numbers, reverse=not self.larger_removes_more)


@dataclass(frozen=True)
class Names(Domain):
    """Names: those listed, or the entries of a registry, of which the runtime says which it can run."""

    values: tuple[Scalar, ...] = ()
    kind: str | None = None  # the registry, e.g. `attentions`
    value_type: ClassVar[type[str]] = str
    has_ranges: ClassVar[bool] = False

    def parse(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        if not isinstance(item, str):
            raise UsageError(f"{place}: a name is needed, but got {item!r}")
        if self.values and item not in self.values:
            raise UsageError(f"{place}: unknown value {item!r}; available: {', '.join(map(str, self.values))}")
        return item

    def parse_initial(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        return self.parse(name, item, anatomy, place)

    def describe(self) -> str:
        return ", ".join(map(str, self.values)) or f"a name that `autocompress list {self.kind}` prints"

    def examples(self) -> tuple[Scalar, ...]:
        return self.values


@dataclass(frozen=True)
class WholeNumbers(Domain):
    """Whole numbers from `least`; up to a size of the teacher where `limit` names one, which is also called `all`."""

    least: int = 1
    limit: str | None = None  # a field of Anatomy
    value_type: ClassVar[type[int]] = int

    def parse(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        if self.limit is not None and item == "all":
            return self._size(anatomy)
        if not isinstance(item, int) or isinstance(item, bool):
            hint = " (or all)" * (self.limit is not None)
            raise UsageError(f"{place}: a whole number is needed{hint}, but got {item!r}")
        if not self.least <= item <= (item if self.limit is None else self._size(anatomy)):
            rule = f"{name} >= {self.least}"
            if self.limit is not None:
                rule = f"{self.least} <= {name} <= {self._size(anatomy)}, the teacher's {self.limit},"
            raise UsageError(f"{place}: {rule} must hold, but got {item}")
        return item

    def parse_initial(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        """Return a number; where the teacher limits it, `item` is a fraction of the teacher's size."""
        if self.limit is None:
            return self.parse(name, item, anatomy, place)
        return _parse_fraction(item, place, f"a fraction of the teacher's {self.limit}") * self._size(anatomy)

    def describe(self) -> str:
        return f"whole numbers from {self.least}" + (f" to the teacher's {self.limit} (`all`)" if self.limit else "")

    def examples(self) -> tuple[Scalar, ...]:
        return (self.least, self.least + 1)

    def _size(self, anatomy: Anatomy) -> int:
        return int(getattr(anatomy, str(self.limit)))


@dataclass(frozen=True)
class Fractions(Domain):
    """Fractions that are removed: `0 <= s < 1`."""

    value_type: ClassVar[type[float]] = float
    larger_removes_more: ClassVar[bool] = True

    def parse(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        if not is_number(item) or not 0 <= item < 1:
            raise UsageError(f"{place}: `0 <= {name} < 1` must hold (the fraction removed), but got {item!r}")
        return float(item)

    def parse_initial(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        return _parse_fraction(item, place, "a fraction")

    def describe(self) -> str:
        return "fractions removed, from 0 to below 1"

    def examples(self) -> tuple[Scalar, ...]:
        return (0.0, 0.5)


@dataclass(frozen=True)
class BitWidths(Domain):
    """Widths in bits, of which the runtime says which it can run. Their distances are in powers of two."""

    values: tuple[Scalar, ...]
    value_type: ClassVar[type[int]] = int

    def parse(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        return WholeNumbers().parse(name, item, anatomy, place)

    def parse_initial(self, name: str, item: object, anatomy: Anatomy, place: str) -> Scalar:
        return self.parse(name, item, anatomy, place)

    def distance(self, one: float, other: float) -> float:
        return abs(log2(one) - log2(other))

    def describe(self) -> str:
        return ", ".join(map(str, self.values))

    def examples(self) -> tuple[Scalar, ...]:
        return self.values


def _parse_fraction(item: object, place: str, what: str) -> float:
    """Return a fraction from 0 to 1, which may be written as `2/3`."""
    try:
        value = float(Fraction(item)) if isinstance(item, str) else float(item) if is_number(item) else -1.0
    except (ValueError, ZeroDivisionError):
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"{place}: {what} from 0 to 1 is needed, e.g. 0.5 or 2/3, but got {item!r}")
    return value
