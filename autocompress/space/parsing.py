"""Parse a search space: from a mapping in a study or space file to the domains of the decisions.

A domain is a list, a range `{low, high, step}` or a single value. The type of a decision's neutral value is the type of its
values: a name, a fraction or a whole number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import isfinite
from typing import Any

from autocompress.config.messages import available
from autocompress.core.errors import UsageError
from autocompress.core.recipe import DECISIONS, NEUTRAL, Scalar
from autocompress.space.space import WINDOWED_ATTENTION, Space

MAX_VALUES = 1000  # of one decision; more are a mistake in `step`
MINIMUMS = {"attention_window": 2}  # of whole numbers; 1 for all other decisions


def resolve_space(
    spec: Mapping[str, Any],
    layers: int,
    supported: Mapping[str, Sequence[Scalar]],
    place: str,
    runtime: str = "the runtime",
) -> Space:
    """Return the space that a mapping describes for a teacher of `layers` layers; UsageError for a wrong domain.

    `supported` maps a decision to the values that `runtime` can run on this device; decisions absent from it are not
    limited by the runtime. A decision that is absent from `spec`, or null, has its neutral value only; depth has all
    layers. `place` begins the messages, e.g. `sst2.yaml: space`.
    """
    for name in spec:
        if name not in DECISIONS:
            raise UsageError(f"{place}: unknown decision {name!r}{available(name, DECISIONS)}")
    choices: dict[str, tuple[Scalar, ...]] = {}
    for name in DECISIONS:
        domain = spec.get(name)
        if domain is None:
            choices[name] = (layers if name == "depth" else NEUTRAL[name],)
            continue
        choices[name] = _parse_domain(name, domain, layers, f"{place}.{name}")
        _check_supported(choices[name], supported.get(name), f"{place}.{name}", runtime)
    _check_window(spec, choices, place)
    return Space(layers, choices)


def _parse_domain(name: str, domain: Any, layers: int, place: str) -> tuple[Scalar, ...]:
    """Return the values of a list, a range or a single value."""
    if isinstance(domain, Mapping):
        return _parse_range(name, domain, layers, place)
    items = list(domain) if isinstance(domain, (list, tuple)) else [domain]
    if not items:
        raise UsageError(f"{place}: the list is empty; name at least one value, or remove the line")
    values = [_parse_value(name, item, layers, place) for item in items]
    literals = [value for item, value in zip(items, values, strict=True) if item != "all"]
    if len(set(literals)) < len(literals) or items.count("all") > 1:
        raise UsageError(f"{place}: each value may be named only once, but got {items}")
    return tuple(dict.fromkeys(values))  # `all` may equal a number in the same list


def _parse_range(name: str, bounds: Mapping[str, Any], layers: int, place: str) -> tuple[Scalar, ...]:
    """Return low, low + step, … up to high, which is included if the steps reach it."""
    if isinstance(NEUTRAL[name], str) or not {"low", "high"} <= bounds.keys() <= {"low", "high", "step"}:
        raise UsageError(
            f"{place}: a list, one value or, for numbers, {{low, high, step}} is needed, but got {dict(bounds)}"
        )
    low, high = (_parse_value(name, bounds[key], layers, f"{place}.{key}") for key in ("low", "high"))
    assert isinstance(low, (int, float))  # only decisions whose values are names have other types
    assert isinstance(high, (int, float))
    step = bounds.get("step", 1 if float(low).is_integer() and float(high).is_integer() else None)
    if not _is_number(step) or step <= 0 or (isinstance(low, int) and not isinstance(step, int)):
        kind = "whole number" if isinstance(low, int) else "number"
        raise UsageError(f"{place}.step: a {kind} above 0 is needed, but got {step!r}")
    if low > high:
        raise UsageError(f"{place}: `low <= high` must hold, but got low {low} and high {high}")
    start, stride = Fraction(str(low)), Fraction(str(step))  # decimals as written: 3 × 0.1 is 0.3
    count = (Fraction(str(high)) - start) // stride + 1
    if count > MAX_VALUES:
        raise UsageError(f"{place}.step: steps of {step} give {count} values; at most {MAX_VALUES} are allowed")
    return tuple(type(low)(start + index * stride) for index in range(count))


def _parse_value(name: str, item: Any, layers: int, place: str) -> Scalar:
    """Return one value of a decision, checked against the decision's type and limits."""
    neutral = NEUTRAL[name]
    if name == "depth" and item == "all":
        return layers
    if isinstance(neutral, str):
        if not isinstance(item, str):
            raise UsageError(f"{place}: a name is needed, but got {item!r}")
        return item
    if isinstance(neutral, float):
        if not _is_number(item) or not 0 <= item < 1:
            raise UsageError(f"{place}: `0 <= {name} < 1` must hold (the fraction removed), but got {item!r}")
        return float(item)
    if not isinstance(item, int) or isinstance(item, bool):
        raise UsageError(f"{place}: a whole number is needed{' (or all)' * (name == 'depth')}, but got {item!r}")
    minimum, maximum = MINIMUMS.get(name, 1), layers if name == "depth" else item
    if not minimum <= item <= maximum:
        rule = f"1 <= depth <= {layers}, the teacher's layers," if name == "depth" else f"{name} >= {minimum}"
        raise UsageError(f"{place}: {rule} must hold, but got {item}")
    return item


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _check_supported(values: Sequence[Scalar], supported: Sequence[Scalar] | None, place: str, runtime: str) -> None:
    for value in values:
        if supported is not None and value not in supported:
            raise UsageError(f"{place}: {runtime} cannot run {value}; available: {', '.join(map(str, supported))}")


def _check_window(spec: Mapping[str, Any], choices: Mapping[str, tuple[Scalar, ...]], place: str) -> None:
    has_local, has_window = WINDOWED_ATTENTION in choices["attention"], spec.get("attention_window") is not None
    if has_local and not has_window:
        raise UsageError(f"{place}.attention: local attention needs a window; add e.g. attention_window: [32, 64]")
    if has_window and not has_local:
        raise UsageError(
            f"{place}.attention_window: only local attention has a window; add local to attention or remove this key"
        )
