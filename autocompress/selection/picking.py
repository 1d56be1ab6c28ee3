"""Which model to recommend under constraints, why that one, and what comes nearest where none holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10

import numpy as np

from autocompress.core.errors import unknown
from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import BOUNDED, Constraints, broken
from autocompress.selection.dominance import AXES, candidates, knee, loss, on_front, tie
from autocompress.selection.expected_drop import ExpectedDrop, expected_drop


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The recommended trial, and the drop to expect of it on other rows than those it was chosen on."""

    row: TrialRow
    expected: ExpectedDrop


@dataclass(frozen=True, kw_only=True)
class Loosened:
    """What would do if one constraint were looser, the others as they are."""

    bound: float  # rounded up to three figures
    row: TrialRow


@dataclass(frozen=True, kw_only=True)
class NoneFits:
    """No trial holds the constraints; for each one that was broken, the trial that comes nearest to holding it."""

    nearest: dict[str, TrialRow]
    loosened: dict[str, Loosened]  # constraint -> what it would take, where loosening that one alone is enough


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """The nearest model that is better than the picked one in something."""

    row: TrialRow
    better_in: tuple[str, ...]  # of the objectives
    faster: float  # times as fast as the picked one
    smaller: float  # times smaller than it
    drop: float  # further drop, as expected on other rows; negative: less


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a trial was picked."""

    complete: int  # models to choose from
    holding: int  # of them, those that hold the constraints
    prefer: str | None
    neighbours: tuple[Neighbour, ...]
    loosened: dict[str, Loosened]  # constraint -> what would be picked next if it alone were looser; only with `prefer`


def pick(
    rows: Sequence[TrialRow],
    constraints: Constraints | None = None,
    prefer: str | None = None,
    objectives: Sequence[str] = AXES,
    examples: int | None = None,
) -> Picked | NoneFits:
    """The best trial that holds the constraints: by one objective (`prefer`), or the knee of those that do.

    `max_drop` must hold, with odds of two to one, for the drop on other rows (see `expected_drop`; `examples` is the
    number of validation rows), and the measured drop must not contradict it: its interval must reach down to `max_drop`
    (where no soft drop is known, the measured drop itself). Quality, too, is compared by expectation: the highest of many
    noisy values is mostly the luckiest. Ties: smaller, then lower number.
    """
    if prefer is not None and prefer not in AXES:
        raise unknown("objective", prefer, AXES, "--prefer")
    choice = _Choice.among(rows, constraints or {}, examples)
    if not choice.likely:
        return NoneFits(
            nearest=_nearest_misses(choice.able, choice.judged, constraints or {}),
            loosened=_loosened(choice, constraints or {}, choice.judged),
        )
    if prefer is None:
        best = knee(choice.front(objectives), objectives)
    else:
        best = min(choice.likely, key=lambda row: (loss(row, prefer), *tie(row)))
    assert best is not None  # the front of some rows has a member
    return Picked(row=choice.able[best.trial], expected=choice.expected[best.trial])


def explain(
    picked: Picked,
    rows: Sequence[TrialRow],
    constraints: Constraints | None = None,
    prefer: str | None = None,
    objectives: Sequence[str] = AXES,
    examples: int | None = None,
) -> Explanation:
    """Why `pick` named that trial, when it was asked the same."""
    choice = _Choice.among(rows, constraints or {}, examples)
    own = next(row for row in choice.likely if row.trial == picked.row.trial)
    better = [row for row in choice.judged if prefer and loss(choice.likely_of(row.trial), prefer) < loss(own, prefer)]
    return Explanation(
        complete=len(choice.able),
        holding=len(choice.likely),
        prefer=prefer,
        neighbours=tuple(_neighbours(choice, own, objectives)),
        loosened=_loosened(choice, constraints or {}, better),
    )


@dataclass(frozen=True)
class _Choice:
    """The models that can be chosen from, and what is thought of them."""

    able: dict[int, TrialRow]  # as they were measured
    expected: dict[int, ExpectedDrop]
    judged: list[TrialRow]  # with the drop that max_drop is held against
    likely: list[TrialRow]  # those that hold the constraints, with the drop to be expected on other rows

    @classmethod
    def among(cls, rows: Sequence[TrialRow], constraints: Constraints, examples: int | None) -> _Choice:
        able = {row.trial: row for row in candidates(rows, (*AXES, "drop"))}
        expected = expected_drop(rows, examples)
        judged = [replace(row, drop=max(_least(row), expected[trial].cautious)) for trial, row in able.items()]
        fitting = [able[row.trial] for row in judged if not broken(row, constraints)]
        return cls(able, expected, judged, [as_expected(row, expected[row.trial].drop) for row in fitting])

    def likely_of(self, trial: int) -> TrialRow:
        """A model with the drop to be expected of it on other rows."""
        return as_expected(self.able[trial], self.expected[trial].drop)

    def front(self, objectives: Sequence[str]) -> list[TrialRow]:
        """Of what holds the constraints, what is dominated by none of it."""
        members = on_front(self.likely, objectives)
        return [row for row in self.likely if row.trial in members]


def _neighbours(choice: _Choice, own: TrialRow, objectives: Sequence[str]) -> list[Neighbour]:
    """For each objective the nearest model that is better in it, quality in steps of a point, the others in octaves."""
    found: dict[int, list[str]] = {}
    place = _place(own)
    for number, objective in enumerate(AXES):
        better = [row for row in choice.front(objectives) if loss(row, objective) < loss(own, objective)]
        if objective in objectives and better:
            nearest = min(better, key=lambda row: (float(np.linalg.norm(_place(row) - place)), *tie(row)))
            found.setdefault(nearest.trial, []).append(AXES[number])
    rows = {row.trial: row for row in choice.likely}
    return [
        Neighbour(
            row=choice.able[trial],
            better_in=tuple(better_in),
            faster=(own.latency_ms or 0.0) / (rows[trial].latency_ms or 1.0),
            smaller=(own.size_mb or 0.0) / (rows[trial].size_mb or 1.0),
            drop=(rows[trial].drop or 0.0) - (own.drop or 0.0),
        )
        for trial, better_in in found.items()
    ]


def _place(row: TrialRow) -> np.ndarray:
    """(3,): drop in points, log2 of latency and of size."""
    return np.array([100 * loss(row, "quality"), loss(row, "latency_ms"), loss(row, "size_mb")])


def _loosened(choice: _Choice, constraints: Constraints, among: Sequence[TrialRow]) -> dict[str, Loosened]:
    """For each constraint the row that breaks it alone, and by the least."""
    found: dict[str, Loosened] = {}
    for row in sorted(among, key=tie, reverse=True):
        by = broken(row, constraints)
        if len(by) != 1:
            continue
        name = next(iter(by))
        bound = _up(getattr(row, BOUNDED[name]))
        if name not in found or bound <= found[name].bound:
            found[name] = Loosened(bound=bound, row=choice.able[row.trial])
    return found


def _up(value: float) -> float:
    """Rounded up to three figures."""
    step = 10.0 ** (floor(log10(value)) - 2) if value > 0 else 1e-4
    return round(ceil(value / step - 1e-9) * step, 12)


def _least(row: TrialRow) -> float:
    """The smallest drop that the measurement allows for."""
    if row.soft_drop is not None and row.drop_interval is not None:
        return row.drop_interval[0]
    return row.drop or 0.0


def as_expected(row: TrialRow, drop: float) -> TrialRow:
    """The row with the drop, and so the quality, to be expected on other rows."""
    return replace(row, drop=drop, quality=(row.quality or 0.0) + (row.drop or 0.0) - drop)


def _nearest_misses(
    able: dict[int, TrialRow], judged: Sequence[TrialRow], constraints: Constraints
) -> dict[str, TrialRow]:
    """For each broken constraint: of the rows that break it, one that breaks the fewest others, and it by the least."""
    misses = [(broken(row, constraints), row) for row in judged]
    nearest = {}
    for name in sorted({name for by, _ in misses for name in by}):
        those = [(len(by), by[name], *tie(row)) for by, row in misses if name in by]
        nearest[name] = able[min(those)[-1]]
    return nearest
