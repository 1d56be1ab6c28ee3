"""Count the operators of a forward pass from the calls that a runtime's profile lists."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from autocompress.core.measurement import Operator


@dataclass(frozen=True, order=True)
class OperatorKind:
    """The properties by which an audit distinguishes operators."""

    name: str
    precision: str
    where: str  # the provider, kernel or device
    fallback: bool  # whether it ran elsewhere than on the intended provider


def count_operators(calls: Iterable[tuple[OperatorKind, float]], passes: int) -> list[Operator]:
    """Sum up the calls (kind, seconds) of some passes by kind; the kinds that took longest come first."""
    counts: Counter[OperatorKind] = Counter()
    seconds: defaultdict[OperatorKind, float] = defaultdict(float)
    for kind, duration in calls:
        counts[kind] += 1
        seconds[kind] += duration
    total = sum(seconds.values()) or 1.0
    return [
        Operator(
            name=kind.name, precision=kind.precision, where=kind.where, fallback=kind.fallback,
            count=round(counts[kind] / passes), share=round(duration / total, 4),
        )
        for kind, duration in sorted(seconds.items(), key=lambda item: (-item[1], item[0]))
    ]  # fmt: skip
