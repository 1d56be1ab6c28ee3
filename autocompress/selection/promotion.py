"""Choose the candidates to train further: successive halving by the expected gain of the front.

A candidate is tried untrained (rung 0), the promising ones are trained shortly (rung 1), the best in full (rung 2). At each
rung the non-dominated candidates go first, in the order of the expected gain of hypervolume per training time. Training time
is proportional to latency: on 2 cores 12, 34 and 55 s for 1, 2 and 3 layers of 0.09, 0.3 and 0.5 ms.

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

KEPT_DROP = (0.6, 0.75)  # fraction of a drop that remains after training from rung 0 to 1 and 1 to 2; the prior
KEPT_DROP_WEIGHT = 0.05  # drop that the study must have seen in equally fast models to weigh as much as the prior
SIMILARITY_EXPONENT = 2  # half or twice the latency weighs a quarter: shallow models keep far more of their drop
REACH, LEAST_REACH = 1.5, 0.01  # estimated drops up to 1.5 times `max_drop`, and up to a point, may still hold it
BEYOND, BEYOND_REACH = 1.5, 5  # times as fast as the fastest trained model; times `max_drop`, or a point, for a drop
LEAST_GAIN = 1e-9  # smaller gains are rounding errors
AXES = ("drop", "latency_ms", "size_mb")


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A candidate to be trained further."""

    row: TrialRow  # at its present rung
    rank: int  # of the non-dominated sorting; 0: no candidate at its rung dominates it
    gain: float  # hypervolume that the front would gain, if training helps it as it helped similar candidates


def promotions(
    rows: Sequence[TrialRow], rung: int, reference: Reference, constraints: Mapping[str, float | None]
) -> list[Promotion]:
    """Return the candidates at `rung` that were not trained further, best first, without those that have no expected gain.

    Only the first rank that holds a candidate with a gain is returned. `max_drop` excludes no candidate, since training may
    reduce its drop.
    """
    rungs = Rungs(reference, constraints)
    for row in rows:
        rungs.add(row)
    return rungs.promotions(rung)


class Peer(NamedTuple):
    """A candidate at a rung, and its coordinates on the axes of the hypervolume."""

    row: TrialRow
    point: tuple[float, float, float]


class Rungs:
    """The candidates at each rung, updated row by row: a search asks for promotions before each of thousands of trials."""

    def __init__(self, reference: Reference, constraints: Mapping[str, float | None]) -> None:
        self._corner = corner(reference)
        if constraints.get("max_drop") is not None:  # a candidate that will never hold it gains nothing
            self._corner[0] = min(self._corner[0], 100 * max(REACH * (constraints["max_drop"] or 0.0), LEAST_REACH))
        self._limits = {name: bound for name, bound in constraints.items() if name != "max_drop"}
        self._peers: list[dict[str, Peer]] = [{} for _ in range(LAST_RUNG + 1)]  # at each rung, by the recipe's key
        self._begun: dict[str, int] = {}  # the highest rung at which a recipe was ever begun
        self._front = np.empty((0, 3))

    def add(self, row: TrialRow) -> None:
        """Add a trial that began or ended."""
        if row.rung is None:
            return
        key = row.recipe.key
        self._begun[key] = max(row.rung, self._begun.get(key, 0))
        if not candidates([row], AXES) or broken(row, self._limits):
            return
        judged = as_judged(row)
        point = _point(judged)
        self._peers[row.rung].setdefault(key, Peer(judged, point))
        import moocore  # a C extension, needed here only

        points = np.vstack((self._front, point))
        self._front = points[moocore.is_nondominated(points)]

    def promotions(self, rung: int) -> list[Promotion]:
        """Return the candidates to train further; see the function `promotions`."""
        if rung >= LAST_RUNG or not self._peers[rung]:
            return []
        peers = [peer.row for peer in self._peers[rung].values()]
        import moocore

        points = np.array([peer.point for peer in self._peers[rung].values()])
        waiting = np.array([self._begun[key] <= rung for key in self._peers[rung]])
        ranks = moocore.pareto_rank(points)
        hypervolume = moocore.Hypervolume(ref=self._corner)
        covered = hypervolume(self._front)
        for rank in np.unique(ranks[waiting]):
            members = np.flatnonzero(waiting & (ranks == rank))
            latencies = np.array([peers[member].latency_ms or 1.0 for member in members])
            trained = self._expected_points(rung, points[members], latencies)
            gains = [float(hypervolume(np.vstack((self._front, point))) - covered) for point in trained]
            ranked = [
                Promotion(row=peers[member], rank=int(rank), gain=gain)
                for member, gain in zip(members, gains, strict=True)
                if gain > LEAST_GAIN
            ]
            if ranked:
                return sorted(ranked, key=lambda peer: (-peer.gain / (peer.row.latency_ms or 1.0), peer.row.trial))
        return []

    def _expected_points(self, rung: int, points: np.ndarray, latencies: np.ndarray) -> np.ndarray:
        """Return the points, (candidates, 3), as expected after training in full; a negative drop stays as it is."""
        expected = points.copy()
        for lower in range(rung, LAST_RUNG):
            expected[:, 0] *= np.where(expected[:, 0] > 0, self._kept_drop(lower, latencies), 1.0)
        return expected

    def _kept_drop(self, rung: int, latencies: np.ndarray) -> np.ndarray:
        """Estimate the fraction of its drop that a candidate of each latency keeps when it is trained to the next rung."""
        before, after = self._peers[rung], self._peers[rung + 1]
        pairs = [
            (peer.row.latency_ms or 1.0, _positive_drop(before[key].row), _positive_drop(peer.row))
            for key, peer in after.items()
            if key in before
        ]
        trained_latencies, drops_before, drops_after = np.array(pairs).reshape(-1, 3).T
        ratios = trained_latencies / latencies[:, None]
        similarity = np.minimum(ratios, 1 / ratios) ** SIMILARITY_EXPONENT  # (candidates, candidates trained before)
        kept = (similarity @ drops_after + KEPT_DROP[rung] * KEPT_DROP_WEIGHT) / (
            similarity @ drops_before + KEPT_DROP_WEIGHT
        )
        return np.asarray(np.minimum(1.0, kept))


def beyond_trained(rows: Sequence[TrialRow], constraints: Mapping[str, float | None]) -> TrialRow | None:
    """Return the candidate with the smallest drop among those much faster than all that were trained in full; null for none.

    A short training tells little of what a full one brings to shallow models, whose full training takes seconds: a model of
    one layer lost 3.5 points untrained and 1.5 after 1,520 steps (see studies/LOG.md). So there is always a rung to climb:
    from the fastest model that was trained in full to one at least 1.5 times as fast.
    """
    full = [row for row in rows if row.trial and row.rung == LAST_RUNG]
    fastest = min((row.latency_ms for row in full if row.latency_ms), default=0.0)
    reach = BEYOND_REACH * max(constraints.get("max_drop") or 0.0, LEAST_REACH)
    limits = {name: bound for name, bound in constraints.items() if name != "max_drop"}
    faster = [
        row for row in rows
        if row.state == "complete" and row.rung in range(LAST_RUNG) and row.latency_ms and row.drop is not None
        and BEYOND * row.latency_ms <= fastest and row.drop <= reach and not broken(row, limits)
    ]  # fmt: skip
    if not faster:
        return None
    begun = {row.recipe.trained().key for row in full}
    new = [row for row in faster if row.recipe.trained().key not in begun]
    return min(new, key=lambda row: (row.drop or 0.0, row.latency_ms or 0.0), default=None)


def as_judged(row: TrialRow) -> TrialRow:
    """Return the row with the soft drop, which has the lower variance, where it is known."""
    return row if row.soft_drop is None else replace(row, drop=row.soft_drop)


def standings(
    rows: Sequence[TrialRow], reference: Reference | None, constraints: Mapping[str, float | None]
) -> dict[int, str]:
    """Return for every complete trial that was not trained in full whether it was trained further, and if not, why.

    These texts are in the JSON of studies that earlier versions searched: they stay as they are.
    """
    outcomes: dict[int, str] = {}
    begun = {(row.recipe.key, row.rung): row.trial for row in rows if row.rung is not None and row.state != "failed"}
    for rung in range(LAST_RUNG):
        ranked = promotions(rows, rung, reference, constraints) if reference is not None else []
        positions = {promotion.row.trial: position for position, promotion in enumerate(ranked, 1)}
        for row in rows:
            if row.rung != rung or row.state != "complete":
                continue
            higher = [
                begun[row.recipe.key, up] for up in range(rung + 1, LAST_RUNG + 1) if (row.recipe.key, up) in begun
            ]
            if higher:
                outcomes[row.trial] = f"trained further as trial {higher[0]}"
            elif row.trial in positions:
                outcomes[row.trial] = f"number {positions[row.trial]} in line for more training when the search ended"
            else:
                outcomes[row.trial] = "not trained further: others promised more"
    return outcomes


def _point(row: TrialRow) -> tuple[float, float, float]:
    return (100 * (row.drop or 0.0), loss(row, "latency_ms"), loss(row, "size_mb"))


def _positive_drop(row: TrialRow) -> float:
    return max(row.drop or 0.0, 0.0)
