"""The value of a decision: a number, a name, or null where the decision does not apply."""

from __future__ import annotations

from math import isfinite
from typing import TypeGuard

Scalar = int | float | str | None


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def as_int(value: Scalar) -> int:
    """Return a value that is a whole number; TypeError for any other."""
    if not isinstance(value, int):
        raise TypeError(f"a whole number is needed, but got {value!r}")
    return value


def as_float(value: Scalar) -> float:
    """Return a value that is a number; TypeError for any other."""
    if not isinstance(value, (int, float)):
        raise TypeError(f"a number is needed, but got {value!r}")
    return float(value)


def as_name(value: Scalar) -> str:
    """Return a value that is a name; TypeError for any other."""
    if not isinstance(value, str):
        raise TypeError(f"a name is needed, but got {value!r}")
    return value
