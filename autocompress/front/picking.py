"""Which model to recommend under constraints, and what comes nearest where none holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autocompress.errors import unknown
from autocompress.front.constraints import Constraints, broken
from autocompress.front.dominance import AXES, candidates, knee, loss, on_front, tie
from autocompress.front.expectation import Expected, expected_drop
from autocompress.measurement import Result


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The recommended trial, and the drop to expect of it on other rows than those it was chosen on."""

    row: Result
    expected: Expected


@dataclass(frozen=True, kw_only=True)
class NoneFits:
    """No trial holds the constraints; for each one that was broken, the trial that comes nearest to holding it."""

    nearest: dict[str, Result]


def pick(
    rows: Sequence[Result],
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
    able = {row.trial: row for row in candidates(rows, (*AXES, "drop"))}
    expected = expected_drop(rows, examples)
    judged = [replace(row, drop=max(_least(row), expected[trial].cautious)) for trial, row in able.items()]
    fitting = [able[row.trial] for row in judged if not broken(row, constraints or {})]
    likely = [as_expected(row, expected[row.trial].drop) for row in fitting]
    if not likely:
        return NoneFits(nearest=_nearest_misses(able, judged, constraints or {}))
    if prefer is None:
        members = on_front(likely, objectives)
        best = knee([row for row in likely if row.trial in members], objectives)
    else:
        best = min(likely, key=lambda row: (loss(row, prefer), *tie(row)))
    assert best is not None  # the front of some rows has a member
    return Picked(row=able[best.trial], expected=expected[best.trial])


def _least(row: Result) -> float:
    """The smallest drop that the measurement allows for."""
    if row.soft_drop is not None and row.drop_interval is not None:
        return row.drop_interval[0]
    return row.drop or 0.0


def as_expected(row: Result, drop: float) -> Result:
    """The row with the drop, and so the quality, to be expected on other rows."""
    return replace(row, drop=drop, quality=(row.quality or 0.0) + (row.drop or 0.0) - drop)


def _nearest_misses(able: dict[int, Result], judged: Sequence[Result], constraints: Constraints) -> dict[str, Result]:
    """For each broken constraint: of the rows that break it, one that breaks the fewest others, and it by the least."""
    misses = [(broken(row, constraints), row) for row in judged]
    nearest = {}
    for name in sorted({name for by, _ in misses for name in by}):
        those = [(len(by), by[name], *tie(row)) for by, row in misses if name in by]
        nearest[name] = able[min(those)[-1]]
    return nearest
