"""Find the non-dominated trials, the hypervolume that they cover, and the knee among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, log2

import numpy as np
from numpy.typing import NDArray

from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import Constraints, broken

AXES = ("quality", "latency_ms", "size_mb")
PREFERENCES = (*AXES, "download_mb", "text_ms")  # what the best model may be chosen by
REFERENCE_POINTS = 10.0  # of drop; larger only where max_drop is larger


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference point of the hypervolume, fixed when the teacher is measured."""

    drop_points: float
    latency_ms: float
    size_mb: float


def on_front(
    rows: Sequence[TrialRow], objectives: Sequence[str] = AXES, constraints: Constraints | None = None
) -> set[int]:
    """Return the numbers of the complete, feasible trials that no other such trial dominates; one trial per artifact.

    Of trials with the same sha256 the lowest number stays. The teacher, trial 0, may dominate trials, but neither it nor a
    trial with the same artifact is a member. A trial with a missing or infinite objective never is.
    """
    feasible = [row for row in candidates(rows, objectives) if not broken(row, constraints or {})]
    feasible += [row for row in rows if row.trial == 0 and row.state == "complete" and _is_measured(row, objectives)]
    members: dict[str, int] = {}
    for row, is_dominated in zip(feasible, _dominated(_losses(feasible, objectives)), strict=True):
        if not is_dominated and row.trial != 0:
            artifact = row.sha256 or f"trial {row.trial}"
            members[artifact] = min(row.trial, members.get(artifact, row.trial))
    return set(members.values())


def hypervolume(rows: Sequence[TrialRow], reference: Reference) -> float:
    """Return the hypervolume of a front in points × octaves²: drop in points, log2 of latency and of size.

    Rows that are not better than the reference on every axis add nothing; an empty front has 0.
    """
    complete = candidates(rows, ("drop", "latency_ms", "size_mb"))
    points = [[100 * (row.drop or 0.0), loss(row, "latency_ms"), loss(row, "size_mb")] for row in complete]
    if not points:
        return 0.0
    import moocore  # a C extension, needed here only

    return float(moocore.hypervolume(np.asarray(points), ref=corner(reference)))


def corner(reference: Reference) -> NDArray[np.float64]:
    """Return the reference on the axes of the hypervolume, (3,): drop in points, log2 of latency and of size."""
    return np.array([reference.drop_points, log2(reference.latency_ms), log2(reference.size_mb)])


def reference_point(teacher: TrialRow, max_drop: float | None) -> Reference:
    """Return 10 points of drop (or `max_drop` if larger), with the teacher's latency and size. ValueError where it has none."""
    if not teacher.latency_ms or not teacher.size_mb:
        raise ValueError(f"the teacher needs a latency and a size, but has {teacher.latency_ms} and {teacher.size_mb}")
    points = max(REFERENCE_POINTS, 100 * (max_drop or 0.0))
    return Reference(drop_points=points, latency_ms=teacher.latency_ms, size_mb=teacher.size_mb)


def knee(rows: Sequence[TrialRow], objectives: Sequence[str] = AXES) -> TrialRow | None:
    """Return the row nearest to the ideal point, which has the best value of every objective; null where there are no rows.

    Latency and size are taken as logarithms. Each axis is scaled from 0 (the best of these rows) to 1 (the worst), and the
    row with the least Euclidean distance from 0 wins. Ties: smaller, then lower number.
    """
    complete = candidates(rows, objectives)
    if not complete:
        return None
    losses = _losses(complete, objectives)
    span = np.ptp(losses, axis=0)
    distances = np.linalg.norm((losses - losses.min(axis=0)) / np.where(span > 0, span, 1.0), axis=1)
    ranked = sorted(
        (round(float(distance), 9), *tie_break(row)) for row, distance in zip(complete, distances, strict=True)
    )
    return next(row for row in complete if row.trial == ranked[0][-1])


def candidates(rows: Sequence[TrialRow], objectives: Sequence[str]) -> list[TrialRow]:
    """Return the complete rows that have all these objectives, without the teacher and rows with the teacher's artifact."""
    teachers = {row.sha256 for row in rows if row.trial == 0 and row.sha256 is not None}
    return [
        row
        for row in rows
        if row.state == "complete" and row.trial != 0 and row.sha256 not in teachers and _is_measured(row, objectives)
    ]


def loss(row: TrialRow, objective: str) -> float:
    """Return an objective as a loss (lower is better): quality negated, the others as log2; inf where it is not known."""
    value: float | None = getattr(row, objective)
    if value is None:
        return inf
    return -value if objective == "quality" else log2(max(value, 1e-9))


def tie_break(row: TrialRow) -> tuple[float, int]:
    """Return the sort key among equals: the smaller model first, then the lower number."""
    return (row.size_mb or 0.0, row.trial)


def _is_measured(row: TrialRow, objectives: Sequence[str]) -> bool:
    values = [getattr(row, name) for name in objectives]
    return all(value is not None and isfinite(value) for value in values)


def _losses(rows: Sequence[TrialRow], objectives: Sequence[str]) -> NDArray[np.float64]:
    """Return (rows, objectives)."""
    return np.array([[loss(row, name) for name in objectives] for row in rows]).reshape(len(rows), len(objectives))


def _dominated(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (rows,): whether another row is nowhere worse and somewhere better."""
    nowhere_worse = (losses[:, None, :] <= losses[None, :, :]).all(axis=2)  # [dominating, row]
    somewhere_better = (losses[:, None, :] < losses[None, :, :]).any(axis=2)
    return np.asarray((nowhere_worse & somewhere_better).any(axis=0))
