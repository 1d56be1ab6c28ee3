"""Parse a search space: from a mapping in a study or space file to the choices of each decision.

The choices of a decision are a list, a range `{low, high, step}` or a single value; each value is parsed by its domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product

from autocompress.config.messages import available
from autocompress.config.space_files import INITIAL
from autocompress.core.domain import Anatomy
from autocompress.core.errors import UsageError
from autocompress.core.scalar import Scalar, is_number
from autocompress.core.technique import Technique, ordered_techniques
from autocompress.space.initial_recipes import parse_initial
from autocompress.space.space import Space

MAX_VALUES = 1000  # of one decision; more are a mistake in `step`


def resolve_space(
    spec: Mapping[str, object],
    anatomy: Anatomy,
    supported: Mapping[str, Sequence[Scalar]],
    place: str,
    runtime: str = "the runtime",
) -> Space:
    """Return the space that a mapping describes for a teacher; UsageError for a wrong domain.

    `supported` maps a decision to the values that `runtime` can run on this device; decisions absent from it are not
    limited by the runtime. A decision that is absent from `spec`, or null, has its neutral value only. `place` begins the
    messages, e.g. `sst2.yaml: space`.
    """
    techniques = ordered_techniques()
    for name in spec:
        if name not in techniques and name != INITIAL:
            raise UsageError(f"{place}: unknown decision {name!r}{available(name, list(techniques))}")
    choices: dict[str, tuple[Scalar, ...]] = {}
    for name, technique in techniques.items():
        written = spec.get(name)
        if written is None:
            choices[name] = (technique.neutral(anatomy),)
            continue
        choices[name] = _parse_choices(technique, written, anatomy, f"{place}.{name}")
        _check_supported(choices[name], supported.get(name), f"{place}.{name}", runtime)
    for technique in techniques.values():
        _check_condition(technique, spec.get(technique.name) is not None, choices, place)
    return Space(anatomy, choices, parse_initial(spec, anatomy, place))


def _parse_choices(technique: Technique, written: object, anatomy: Anatomy, place: str) -> tuple[Scalar, ...]:
    """Return the values of a list, a range or a single value."""
    if isinstance(written, Mapping):
        return _parse_range(technique, written, anatomy, place)
    items = list(written) if isinstance(written, (list, tuple)) else [written]
    if not items:
        raise UsageError(f"{place}: the list is empty; name at least one value, or remove the line")
    values = [technique.domain.parse(technique.name, item, anatomy, place) for item in items]
    literals = [value for item, value in zip(items, values, strict=True) if item != "all"]
    if len(set(literals)) < len(literals) or items.count("all") > 1:
        raise UsageError(f"{place}: each value may be named only once, but got {items}")
    return tuple(dict.fromkeys(values))  # `all` may equal a number in the same list


def _parse_range(
    technique: Technique, bounds: Mapping[object, object], anatomy: Anatomy, place: str
) -> tuple[Scalar, ...]:
    """Return low, low + step, … up to high, which is included if the steps reach it."""
    if not technique.domain.has_ranges or not {"low", "high"} <= bounds.keys() <= {"low", "high", "step"}:
        raise UsageError(
            f"{place}: a list, one value or, for numbers, {{low, high, step}} is needed, but got {dict(bounds)}"
        )
    low, high = (
        technique.domain.parse(technique.name, bounds[key], anatomy, f"{place}.{key}") for key in ("low", "high")
    )
    assert isinstance(low, (int, float))  # a domain with ranges has numbers
    assert isinstance(high, (int, float))
    step = bounds.get("step", 1 if float(low).is_integer() and float(high).is_integer() else None)
    if not is_number(step) or step <= 0 or (isinstance(low, int) and not isinstance(step, int)):
        kind = "whole number" if isinstance(low, int) else "number"
        raise UsageError(f"{place}.step: a {kind} above 0 is needed, but got {step!r}")
    if low > high:
        raise UsageError(f"{place}: `low <= high` must hold, but got low {low} and high {high}")
    start, stride = Fraction(str(low)), Fraction(str(step))  # decimals as written: 3 × 0.1 is 0.3
    count = (Fraction(str(high)) - start) // stride + 1
    if count > MAX_VALUES:
        raise UsageError(f"{place}.step: steps of {step} give {count} values; at most {MAX_VALUES} are allowed")
    return tuple(type(low)(start + index * stride) for index in range(count))


def _check_supported(values: Sequence[Scalar], supported: Sequence[Scalar] | None, place: str, runtime: str) -> None:
    for value in values:
        if supported is not None and value not in supported:
            raise UsageError(f"{place}: {runtime} cannot run {value}; available: {', '.join(map(str, supported))}")


def _check_condition(
    technique: Technique, is_named: bool, choices: Mapping[str, tuple[Scalar, ...]], place: str
) -> None:
    """Raise UsageError where a decision is named that never applies, or is not named and is needed."""
    combinations = product(*(choices[name] for name in technique.reads))
    can_apply = any(technique.applies(dict(zip(technique.reads, values, strict=True))) for values in combinations)
    if can_apply and not is_named and technique.when_missing:
        raise UsageError(f"{place}.{technique.reads[0]}: {technique.when_missing}")
    if is_named and not can_apply:
        raise UsageError(f"{place}.{technique.name}: {technique.when_useless}")
