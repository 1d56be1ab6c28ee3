"""Two fronts side by side, each against its own teacher."""

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
    """What is compared of a study."""

    study: str
    rows: Sequence[TrialRow]
    teacher: TrialRow | None
    examples: int | None  # rows of the validation split
    seconds: float

    @property
    def models(self) -> int:
        """How many there are on the front."""
        return sum(row.on_front for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What `pick` names in either study where it is asked the same; null where nothing holds."""

    prefer: str | None  # null: the knee
    a: TrialRow | None
    b: TrialRow | None


@dataclass(frozen=True, kw_only=True)
class FrontComparison:
    """The second study beside the first; drops on validation, latency and size as factors of each study's own teacher."""

    a: ComparedFront
    b: ComparedFront
    same_teacher: bool
    hypervolume_a: float  # points × octaves², from 10 points of drop and the teacher
    hypervolume_b: float
    coverage_a: float  # fraction of the second front that some model of the first is nowhere worse than
    coverage_b: float  # the other way round
    max_drop: float | None  # that the choices hold
    choices: tuple[Choice, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("a", "b", "choices")}
        picked = [
            {"prefer": one.prefer, "a": one.a and one.a.as_json(), "b": one.b and one.b.as_json()}
            for one in self.choices
        ]
        return {"study_a": self.a.study, "study_b": self.b.study, **values, "choices": picked}


def compare_fronts(a: ComparedFront, b: ComparedFront, max_drop: float | None) -> FrontComparison:
    """Compare two fronts by hypervolume, coverage (the C-metric of Zitzler & Thiele 1998) and by what `pick` names.

    Rows without a drop, a speed-up and a compression are left out.
    """
    scaled = [_against_teacher([row for row in front.rows if row.on_front]) for front in (a, b)]
    constraints: Constraints = {"max_drop": max_drop}
    sides = [{one: _choice(front, constraints, one) for one in ("latency_ms", "size_mb", None)} for front in (a, b)]
    return FrontComparison(
        a=a,
        b=b,
        same_teacher=bool(a.teacher and b.teacher and a.teacher.sha256 == b.teacher.sha256),
        hypervolume_a=hypervolume(scaled[0], CORNER),
        hypervolume_b=hypervolume(scaled[1], CORNER),
        coverage_a=_coverage(scaled[0], scaled[1]),
        coverage_b=_coverage(scaled[1], scaled[0]),
        max_drop=max_drop,
        choices=tuple(Choice(prefer=one, a=sides[0][one], b=sides[1][one]) for one in sides[0]),
    )


def _choice(front: ComparedFront, constraints: Constraints, prefer: str | None) -> TrialRow | None:
    picked = pick(front.rows, constraints, prefer, examples=front.examples)
    return None if isinstance(picked, NoneFits) else picked.row


def _against_teacher(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The rows with latency and size as fractions of the teacher's."""
    return [
        replace(row, latency_ms=1 / row.speedup, size_mb=1 / row.compression)
        for row in rows
        if row.drop is not None and row.speedup and row.compression
    ]


def _coverage(ours: Sequence[TrialRow], theirs: Sequence[TrialRow]) -> float:
    """Fraction of theirs than which some of ours is nowhere worse; 0 where they have none."""

    def losses(row: TrialRow) -> tuple[float, float, float]:
        return (row.drop or 0.0, row.latency_ms or 0.0, row.size_mb or 0.0)

    covered = [
        any(all(x <= y for x, y in zip(losses(one), losses(row), strict=True)) for one in ours) for row in theirs
    ]
    return sum(covered) / len(covered) if covered else 0.0
