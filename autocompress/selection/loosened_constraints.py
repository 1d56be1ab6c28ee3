"""Find single constraints to loosen: by how much, and the trial that then fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import BOUNDED, Constraints, broken
from autocompress.selection.dominance import tie_break


@dataclass(frozen=True, kw_only=True)
class Loosened:
    """A looser bound of one constraint, and the trial that fits under it while the other constraints stay as they are."""

    bound: float  # rounded up to three figures
    row: TrialRow


def loosen_constraints(
    rows: Sequence[TrialRow], measured: Mapping[int, TrialRow], constraints: Constraints
) -> dict[str, Loosened]:
    """Return for each constraint the row that violates this one alone, and by the least.

    The rows carry the drop that `max_drop` is compared with; the result holds the `measured` row of the same trial.
    """
    loosened: dict[str, Loosened] = {}
    for row in sorted(rows, key=tie_break, reverse=True):
        violated = broken(row, constraints)
        if len(violated) != 1:
            continue
        name = next(iter(violated))
        bound = _round_up(getattr(row, BOUNDED[name]))
        if name not in loosened or bound <= loosened[name].bound:
            loosened[name] = Loosened(bound=bound, row=measured[row.trial])
    return loosened


def nearest_misses(
    rows: Sequence[TrialRow], measured: Mapping[int, TrialRow], constraints: Constraints
) -> dict[str, TrialRow]:
    """Return for each violated constraint, among the rows with the fewest violations, the one that violates it least."""
    misses = [(broken(row, constraints), row) for row in rows]
    nearest = {}
    for name in sorted({name for violated, _ in misses for name in violated}):
        ranked = [(len(violated), violated[name], *tie_break(row)) for violated, row in misses if name in violated]
        nearest[name] = measured[min(ranked)[-1]]
    return nearest


def _round_up(value: float) -> float:
    """Round up to three figures."""
    step = 10.0 ** (floor(log10(value)) - 2) if value > 0 else 1e-4
    return round(ceil(value / step - 1e-9) * step, 12)
