"""Which trials nobody beats, what they cover together, and which of them lies in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log2

import numpy as np
from numpy.typing import NDArray

from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import Constraints, broken

AXES = ("quality", "latency_ms", "size_mb")
REFERENCE_POINTS = 10.0  # of drop; more only where max_drop is larger


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The corner from which a front's hypervolume is measured: fixed when the study is created."""

    drop_points: float
    latency_ms: float
    size_mb: float


def on_front(
    rows: Sequence[TrialRow], objectives: Sequence[str] = AXES, constraints: Constraints | None = None
) -> set[int]:
    """Numbers of the complete, feasible trials that no other such trial dominates; one trial per artifact.

    Of trials with the same sha256 the lowest number stays. The teacher, trial 0, stands beside the front: it may
    dominate, but neither it nor a trial with its very artifact is a member. A trial with a missing or infinite
    objective never is.
    """
    able = [row for row in candidates(rows, objectives) if not broken(row, constraints or {})]
    able += [row for row in rows if row.trial == 0 and row.state == "complete" and _measured(row, objectives)]
    members: dict[str, int] = {}
    for row, beaten in zip(able, _dominated(_losses(able, objectives)), strict=True):
        if not beaten and row.trial != 0:
            artifact = row.sha256 or f"trial {row.trial}"
            members[artifact] = min(row.trial, members.get(artifact, row.trial))
    return set(members.values())


def hypervolume(rows: Sequence[TrialRow], reference: Reference) -> float:
    """What a front covers, in points × octaves²: drop in points, log2 of latency and of size, up to the reference.

    Rows that are not better than the reference on every axis add nothing; an empty front covers 0.
    """
    able = candidates(rows, ("drop", "latency_ms", "size_mb"))
    points = [[100 * (row.drop or 0.0), loss(row, "latency_ms"), loss(row, "size_mb")] for row in able]
    if not points:
        return 0.0
    import moocore  # a C extension, needed here only

    return float(moocore.hypervolume(np.asarray(points), ref=corner(reference)))


def corner(reference: Reference) -> NDArray[np.float64]:
    """The reference on the axes of the hypervolume: drop in points, log2 of latency and of size."""
    return np.array([reference.drop_points, log2(reference.latency_ms), log2(reference.size_mb)])


def reference_point(teacher: TrialRow, max_drop: float | None) -> Reference:
    """10 points of drop (or `max_drop` if larger), the teacher's latency and size."""
    if not teacher.latency_ms or not teacher.size_mb:
        raise ValueError(f"the teacher needs a latency and a size, but has {teacher.latency_ms} and {teacher.size_mb}")
    points = max(REFERENCE_POINTS, 100 * (max_drop or 0.0))
    return Reference(drop_points=points, latency_ms=teacher.latency_ms, size_mb=teacher.size_mb)


def knee(rows: Sequence[TrialRow], objectives: Sequence[str] = AXES) -> TrialRow | None:
    """The row nearest to having the best of everything; null where there are no rows.

    Quality is taken as it is, latency and size as logarithms; each axis runs from 0 (the best of these rows) to 1 (the
    worst), and the row with the least Euclidean distance from 0 wins. Ties: smaller, then lower number.
    """
    able = candidates(rows, objectives)
    if not able:
        return None
    losses = _losses(able, objectives)
    span = np.ptp(losses, axis=0)
    distances = np.linalg.norm((losses - losses.min(axis=0)) / np.where(span > 0, span, 1.0), axis=1)
    ranked = sorted((round(float(distance), 9), *tie(row)) for row, distance in zip(able, distances, strict=True))
    return next(row for row in able if row.trial == ranked[0][-1])


def candidates(rows: Sequence[TrialRow], objectives: Sequence[str]) -> list[TrialRow]:
    """The rows that are complete, measured in all these respects, and neither the teacher nor its artifact again."""
    teachers = {row.sha256 for row in rows if row.trial == 0 and row.sha256 is not None}
    return [
        row
        for row in rows
        if row.state == "complete" and row.trial != 0 and row.sha256 not in teachers and _measured(row, objectives)
    ]


def loss(row: TrialRow, objective: str) -> float:
    """An objective as a number of which less is better: quality negated, latency and size as log2."""
    value: float = getattr(row, objective)
    return -value if objective == "quality" else log2(max(value, 1e-9))


def tie(row: TrialRow) -> tuple[float, int]:
    """What decides between equals: the smaller model, then the lower number."""
    return (row.size_mb or 0.0, row.trial)


def _measured(row: TrialRow, objectives: Sequence[str]) -> bool:
    values = [getattr(row, name) for name in objectives]
    return all(value is not None and isfinite(value) for value in values)


def _losses(rows: Sequence[TrialRow], objectives: Sequence[str]) -> NDArray[np.float64]:
    """(rows, objectives)"""
    return np.array([[loss(row, name) for name in objectives] for row in rows]).reshape(len(rows), len(objectives))


def _dominated(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(rows,): whether some other row is nowhere worse and somewhere better."""
    nowhere_worse = (losses[:, None, :] <= losses[None, :, :]).all(axis=2)  # [other, row]
    somewhere_better = (losses[:, None, :] < losses[None, :, :]).any(axis=2)
    return np.asarray((nowhere_worse & somewhere_better).any(axis=0))
