"""Which candidates are worth more training: successive halving by what the front would gain.

A candidate is tried untrained (rung 0), the promising ones are trained shortly (rung 1), the best in full (rung 2). Of
those at a rung the non-dominated ones go first, and among them the one that promises the most hypervolume. After Jamieson
and Talwalkar (2016) and, for several objectives, Schmucker et al., "Multi-objective asynchronous successive halving" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autocompress.front.constraints import broken
from autocompress.front.dominance import Reference, candidates, corner, loss
from autocompress.measurement import Result
from autocompress.plan import LAST_RUNG

KEPT = (0.6, 0.75)  # of a drop, by training from rung 0 to 1 and 1 to 2, before the study has shown its own
KEPT_WEIGHT = 0.05  # how much drop the study must have shown for its own to count as much
LEAST_GAIN = 1e-9  # less is rounding
AXES = ("drop", "latency_ms", "size_mb")


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A candidate to be trained further."""

    row: Result  # where it stands now
    rank: int  # 0: nobody at its rung dominates it
    gain: float  # hypervolume that the front would gain, if training does for it what it did for others


def promotions(
    rows: Sequence[Result], rung: int, reference: Reference, constraints: Mapping[str, float | None]
) -> list[Promotion]:
    """The candidates at `rung` that were not trained further, best first; those that promise no gain are left out.

    Only the first rank that holds any with a gain is returned: the others wait for their turn. `max_drop` is no bar,
    since training may mend it.
    """
    limits = {name: bound for name, bound in constraints.items() if name != "max_drop"}
    able = [as_judged(row) for row in candidates(rows, AXES) if not broken(row, limits)]
    peers = np.array([row.rung == rung for row in able], dtype=bool)
    if rung >= LAST_RUNG or not peers.any():
        return []
    import moocore  # a C extension, needed here only

    points = np.array([_point(row) for row in able])
    further = {row.recipe.key for row in rows if row.rung is not None and row.rung > rung}
    waiting = peers & np.array([row.recipe.key not in further for row in able], dtype=bool)
    ranks = np.full(len(able), -1)
    ranks[peers] = moocore.pareto_rank(points[peers])
    kept = float(np.prod([_kept(able, lower) for lower in range(rung, LAST_RUNG)]))
    front = points[moocore.is_nondominated(points)]
    covers = moocore.Hypervolume(ref=corner(reference))
    covered = covers(front)
    for rank in np.unique(ranks[waiting]):
        members = np.flatnonzero(waiting & (ranks == rank))
        trained = points[members] * np.where(points[members] > 0, [kept, 1.0, 1.0], 1.0)  # a gain is no drop to shrink
        gains = [float(covers(np.vstack((front, point))) - covered) for point in trained]
        found = [
            Promotion(row=able[member], rank=int(rank), gain=gain)
            for member, gain in zip(members, gains, strict=True)
            if gain > LEAST_GAIN
        ]
        if found:
            return sorted(found, key=lambda one: (-one.gain, one.row.trial))
    return []


def as_judged(row: Result) -> Result:
    """The row with the drop that has less luck in it, where it is known."""
    return row if row.soft_drop is None else replace(row, drop=row.soft_drop)


def standings(
    rows: Sequence[Result], reference: Reference | None, constraints: Mapping[str, float | None]
) -> dict[int, str]:
    """For every complete trial that was not trained in full: what became of it."""
    found: dict[int, str] = {}
    later = {(row.recipe.key, row.rung): row.trial for row in rows if row.rung is not None and row.state != "failed"}
    for rung in range(LAST_RUNG):
        ahead = promotions(rows, rung, reference, constraints) if reference is not None else []
        line = {one.row.trial: place for place, one in enumerate(ahead, 1)}
        for row in rows:
            if row.rung != rung or row.state != "complete":
                continue
            higher = [
                later[row.recipe.key, up] for up in range(rung + 1, LAST_RUNG + 1) if (row.recipe.key, up) in later
            ]
            if higher:
                found[row.trial] = f"trained further as trial {higher[0]}"
            elif row.trial in line:
                found[row.trial] = f"number {line[row.trial]} in line for more training when the search ended"
            else:
                found[row.trial] = "not trained further: others promised more"
    return found


def _point(row: Result) -> tuple[float, float, float]:
    return (100 * (row.drop or 0.0), loss(row, "latency_ms"), loss(row, "size_mb"))


def _kept(able: Sequence[Result], rung: int) -> float:
    """The part of their drop that candidates kept when they were trained from this rung to the next."""
    before = {row.recipe.key: max(row.drop or 0.0, 0.0) for row in able if row.rung == rung}
    pairs = [
        (before[row.recipe.key], max(row.drop or 0.0, 0.0))
        for row in able
        if row.rung == rung + 1 and row.recipe.key in before
    ]
    lost, still = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    return min(1.0, (still + KEPT[rung] * KEPT_WEIGHT) / (lost + KEPT_WEIGHT))
