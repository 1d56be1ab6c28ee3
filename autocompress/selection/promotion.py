"""Which candidates are worth more training: successive halving by what the front would gain.

A candidate is tried untrained (rung 0), the promising ones are trained shortly (rung 1), the best in full (rung 2). Of
those at a rung the non-dominated ones go first, and among them the one that promises the most hypervolume for the time its
training takes, which grows as its latency does: on 2 cores 12, 34 and 55 s for 1, 2 and 3 layers of 0.09, 0.3 and 0.5 ms.
After Jamieson and Talwalkar (2016) and, for several objectives, Schmucker et al., "Multi-objective asynchronous successive
halving" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from autocompress.config import LAST_RUNG
from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import broken
from autocompress.selection.dominance import Reference, candidates, corner, loss

KEPT = (0.6, 0.75)  # of a drop, by training from rung 0 to 1 and 1 to 2, before the study has shown its own
KEPT_WEIGHT = 0.05  # how much drop the study must have shown, of models as fast, for its own to count as much
LIKENESS = 2  # half or twice the latency counts a quarter: shallow models keep far more of their drop than deep ones
REACH, LEAST_REACH = 1.5, 0.01  # drops up to 1.5 times `max_drop`, or a point, may yet turn out to hold it
LEAST_GAIN = 1e-9  # less is rounding
AXES = ("drop", "latency_ms", "size_mb")


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A candidate to be trained further."""

    row: TrialRow  # where it stands now
    rank: int  # 0: nobody at its rung dominates it
    gain: float  # hypervolume that the front would gain, if training does for it what it did for others


def promotions(
    rows: Sequence[TrialRow], rung: int, reference: Reference, constraints: Mapping[str, float | None]
) -> list[Promotion]:
    """The candidates at `rung` that were not trained further, best first; those that promise no gain are left out.

    Only the first rank that holds any with a gain is returned: the others wait for their turn. `max_drop` is no bar,
    since training may mend it.
    """
    rungs = Rungs(reference, constraints)
    for row in rows:
        rungs.add(row)
    return rungs.promotions(rung)


class Peer(NamedTuple):
    """A candidate at a rung, and where it stands on the axes of the hypervolume."""

    row: TrialRow
    point: tuple[float, float, float]


class Rungs:
    """What is known at each rung, kept up row by row: a search asks for promotions before each of thousands of trials."""

    def __init__(self, reference: Reference, constraints: Mapping[str, float | None]) -> None:
        self._corner = corner(reference)
        if constraints.get("max_drop") is not None:  # what will never hold it is of no use
            self._corner[0] = min(self._corner[0], 100 * max(REACH * (constraints["max_drop"] or 0.0), LEAST_REACH))
        self._limits = {name: bound for name, bound in constraints.items() if name != "max_drop"}
        self._able: list[dict[str, Peer]] = [{} for _ in range(LAST_RUNG + 1)]  # at each rung, by the recipe's key
        self._begun: dict[str, int] = {}  # the highest rung at which a recipe was ever begun
        self._front = np.empty((0, 3))

    def add(self, row: TrialRow) -> None:
        """A trial that began, or ended."""
        if row.rung is None:
            return
        key = row.recipe.key
        self._begun[key] = max(row.rung, self._begun.get(key, 0))
        if not candidates([row], AXES) or broken(row, self._limits):
            return
        judged = as_judged(row)
        point = _point(judged)
        self._able[row.rung].setdefault(key, Peer(judged, point))
        import moocore  # a C extension, needed here only

        points = np.vstack((self._front, point))
        self._front = points[moocore.is_nondominated(points)]

    def promotions(self, rung: int) -> list[Promotion]:
        """See `promotions`."""
        if rung >= LAST_RUNG or not self._able[rung]:
            return []
        peers = [peer.row for peer in self._able[rung].values()]
        import moocore

        points = np.array([peer.point for peer in self._able[rung].values()])
        waiting = np.array([self._begun[key] <= rung for key in self._able[rung]])
        ranks = moocore.pareto_rank(points)
        covers = moocore.Hypervolume(ref=self._corner)
        covered = covers(self._front)
        for rank in np.unique(ranks[waiting]):
            members = np.flatnonzero(waiting & (ranks == rank))
            after = points[members]
            latencies = np.array([peers[member].latency_ms or 1.0 for member in members])
            for lower in range(rung, LAST_RUNG):
                after[:, 0] *= np.where(after[:, 0] > 0, self._kept(lower, latencies), 1.0)  # of a drop; a gain is none
            gains = [float(covers(np.vstack((self._front, point))) - covered) for point in after]
            found = [
                Promotion(row=peers[member], rank=int(rank), gain=gain)
                for member, gain in zip(members, gains, strict=True)
                if gain > LEAST_GAIN
            ]
            if found:
                return sorted(found, key=lambda one: (-one.gain / (one.row.latency_ms or 1.0), one.row.trial))
        return []

    def _kept(self, rung: int, latencies: np.ndarray) -> np.ndarray:
        """The part of its drop that a candidate of each latency will probably keep when it is trained to the next rung."""
        before, after = self._able[rung], self._able[rung + 1]
        both = [
            (peer.row.latency_ms or 1.0, _lost(before[key].row), _lost(peer.row))
            for key, peer in after.items()
            if key in before
        ]
        others, lost, still = np.array(both).reshape(-1, 3).T
        ratios = others / latencies[:, None]
        alike = np.minimum(ratios, 1 / ratios) ** LIKENESS  # (candidates, those trained before)
        kept = (alike @ still + KEPT[rung] * KEPT_WEIGHT) / (alike @ lost + KEPT_WEIGHT)
        return np.asarray(np.minimum(1.0, kept))


def as_judged(row: TrialRow) -> TrialRow:
    """The row with the drop that has less luck in it, where it is known."""
    return row if row.soft_drop is None else replace(row, drop=row.soft_drop)


def standings(
    rows: Sequence[TrialRow], reference: Reference | None, constraints: Mapping[str, float | None]
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


def _point(row: TrialRow) -> tuple[float, float, float]:
    return (100 * (row.drop or 0.0), loss(row, "latency_ms"), loss(row, "size_mb"))


def _lost(row: TrialRow) -> float:
    return max(row.drop or 0.0, 0.0)
