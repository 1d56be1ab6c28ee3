"""Explain why a model was picked: how many models fit, its neighbours on the front, the bound that excludes better ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import Constraints
from autocompress.selection.dominance import AXES, loss, tie_break
from autocompress.selection.judged_models import JudgedModels, judge_models
from autocompress.selection.loosened_constraints import Loosened, loosen_constraints
from autocompress.selection.picking import Picked


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """The nearest model that is better than the picked one in some objective."""

    row: TrialRow
    better_in: tuple[str, ...]  # objectives
    faster: float  # latency of the picked model ÷ latency of this one
    smaller: float  # size of the picked model ÷ size of this one
    drop: float  # expected drop − that of the picked model; negative: less


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The explanation of why a trial was picked."""

    complete: int  # models to choose from
    holding: int  # of them, those that hold the constraints
    prefer: str | None
    neighbours: tuple[Neighbour, ...]
    loosened: dict[str, Loosened]  # constraint -> looser bound that brings a better pick; only with `prefer`


def explain(
    picked: Picked,
    rows: Sequence[TrialRow],
    constraints: Constraints | None = None,
    prefer: str | None = None,
    objectives: Sequence[str] = AXES,
    examples: int | None = None,
) -> Explanation:
    """Explain what `pick` returned for the same arguments."""
    constraints = constraints or {}
    models = judge_models(rows, constraints, examples)
    best = next(row for row in models.fitting if row.trial == picked.row.trial)
    better = [
        row
        for row in models.cautious
        if prefer and loss(models.with_expected_drop(row.trial), prefer) < loss(best, prefer)
    ]
    return Explanation(
        complete=len(models.measured),
        holding=len(models.fitting),
        prefer=prefer,
        neighbours=tuple(_find_neighbours(models, best, objectives)),
        loosened=loosen_constraints(better, models.measured, constraints),
    )


def _find_neighbours(models: JudgedModels, best: TrialRow, objectives: Sequence[str]) -> list[Neighbour]:
    """Find for each objective the nearest model that is better in it, by the Euclidean distance of `_coordinates`."""
    better_in: dict[int, list[str]] = {}
    origin = _coordinates(best)
    for objective in AXES:
        better = [row for row in models.fitting_front(objectives) if loss(row, objective) < loss(best, objective)]
        if objective in objectives and better:
            nearest = min(better, key=lambda row: (float(np.linalg.norm(_coordinates(row) - origin)), *tie_break(row)))
            better_in.setdefault(nearest.trial, []).append(objective)
    rows = {row.trial: row for row in models.fitting}
    return [
        Neighbour(
            row=models.measured[trial],
            better_in=tuple(names),
            faster=(best.latency_ms or 0.0) / (rows[trial].latency_ms or 1.0),
            smaller=(best.size_mb or 0.0) / (rows[trial].size_mb or 1.0),
            drop=(rows[trial].drop or 0.0) - (best.drop or 0.0),
        )
        for trial, names in better_in.items()
    ]


def _coordinates(row: TrialRow) -> np.ndarray:
    """(3,): quality in points (negated), log2 of latency and of size."""
    return np.array([100 * loss(row, "quality"), loss(row, "latency_ms"), loss(row, "size_mb")])
