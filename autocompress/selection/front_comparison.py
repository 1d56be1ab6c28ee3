"""Two fronts side by side, each relative to the teacher of its study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import Constraints
from autocompress.selection.dominance import Reference, hypervolume
from autocompress.selection.picking import NoneFits, pick

CORNER = Reference(drop_points=10.0, latency_ms=1.0, size_mb=1.0)  # 10 points lost, as fast and as large as the teacher


@dataclass(frozen=True, kw_only=True)
class ComparedFront:
    """A study whose front is compared."""

    study: str
    rows: Sequence[TrialRow]
    teacher: TrialRow | None
    examples: int | None  # rows of the validation split
    seconds: float

    @property
    def models(self) -> int:
        """Return the number of models on the front."""
        return sum(row.on_front for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The trials that `pick` returns in both studies for the same arguments; null where none satisfies the constraints."""

    prefer: str | None  # null: the knee
    a: TrialRow | None
    b: TrialRow | None


@dataclass(frozen=True, kw_only=True)
class FrontComparison:
    """The second study compared with the first: drops on validation, latency and size relative to the study's teacher."""

    a: ComparedFront
    b: ComparedFront
    same_teacher: bool
    hypervolume_a: float  # points × octaves², up to 10 points of drop and the teacher's latency and size
    hypervolume_b: float
    coverage_a: float  # fraction of the second front that the first front weakly dominates
    coverage_b: float  # fraction of the first front that the second weakly dominates
    max_drop: float | None  # that the choices must hold
    choices: tuple[Choice, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("a", "b", "choices")}
        choices = [
            {"prefer": choice.prefer, "a": choice.a and choice.a.as_json(), "b": choice.b and choice.b.as_json()}
            for choice in self.choices
        ]
        return {"study_a": self.a.study, "study_b": self.b.study, **values, "choices": choices}


def compare_fronts(a: ComparedFront, b: ComparedFront, max_drop: float | None) -> FrontComparison:
    """Compare two fronts by hypervolume, coverage (the C-metric of Zitzler & Thiele 1998) and by the picked models.

    Rows without a drop, a speed-up and a compression are left out.
    """
    scaled = [_scale_to_teacher([row for row in front.rows if row.on_front]) for front in (a, b)]
    constraints: Constraints = {"max_drop": max_drop}
    choices = [
        Choice(prefer=prefer, a=_pick_row(a, constraints, prefer), b=_pick_row(b, constraints, prefer))
        for prefer in ("latency_ms", "size_mb", None)
    ]
    return FrontComparison(
        a=a,
        b=b,
        same_teacher=bool(a.teacher and b.teacher and a.teacher.sha256 == b.teacher.sha256),
        hypervolume_a=hypervolume(scaled[0], CORNER),
        hypervolume_b=hypervolume(scaled[1], CORNER),
        coverage_a=_coverage(scaled[0], scaled[1]),
        coverage_b=_coverage(scaled[1], scaled[0]),
        max_drop=max_drop,
        choices=tuple(choices),
    )


def _pick_row(front: ComparedFront, constraints: Constraints, prefer: str | None) -> TrialRow | None:
    picked = pick(front.rows, constraints, prefer, examples=front.examples)
    return None if isinstance(picked, NoneFits) else picked.row


def _scale_to_teacher(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the rows with latency and size as fractions of the teacher's."""
    return [
        replace(row, latency_ms=1 / row.speedup, size_mb=1 / row.compression)
        for row in rows
        if row.drop is not None and row.speedup and row.compression
    ]


def _coverage(front: Sequence[TrialRow], covered_front: Sequence[TrialRow]) -> float:
    """Return the fraction of `covered_front` that some row of `front` weakly dominates; 0 where it is empty."""

    def losses(row: TrialRow) -> tuple[float, float, float]:
        return (row.drop or 0.0, row.latency_ms or 0.0, row.size_mb or 0.0)

    covered = [
        any(all(x <= y for x, y in zip(losses(member), losses(row), strict=True)) for member in front)
        for row in covered_front
    ]
    return sum(covered) / len(covered) if covered else 0.0
