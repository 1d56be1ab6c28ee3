"""Pick the model to recommend under constraints, or the nearest trials where none satisfies them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autocompress.core.errors import unknown
from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import Constraints
from autocompress.selection.dominance import AXES, PREFERENCES, knee, loss, tie_break
from autocompress.selection.drop_estimate import ExpectedDrop
from autocompress.selection.judged_models import judge_models
from autocompress.selection.loosened_constraints import Loosened, loosen_constraints, nearest_misses


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The recommended trial, and its expected drop on other rows than those that it was chosen on."""

    row: TrialRow
    expected: ExpectedDrop


@dataclass(frozen=True, kw_only=True)
class NoneFits:
    """No trial satisfies the constraints; for each violated one, the trial that violates it least."""

    nearest: dict[str, TrialRow]
    loosened: dict[str, Loosened]  # constraint -> looser bound, where loosening this one alone is enough


def pick(
    rows: Sequence[TrialRow],
    constraints: Constraints | None = None,
    prefer: str | None = None,
    objectives: Sequence[str] = AXES,
    examples: int | None = None,
) -> Picked | NoneFits:
    """Return the best trial that satisfies the constraints: by one number (`prefer`), or the knee of the fitting front.

    `max_drop` must hold, with odds of two to one, for the drop on other rows (see `expected_drop`; `examples` is the
    number of validation rows), and the measured drop must not contradict it: its interval must reach down to `max_drop`
    (where no soft drop is known, the measured drop itself). Quality, too, is compared by expectation: the highest of many
    noisy values is usually the luckiest one. Ties: smaller, then lower number. UsageError for an unknown `prefer`.
    """
    if prefer is not None and prefer not in PREFERENCES:
        raise unknown("objective", prefer, PREFERENCES, "--prefer")
    constraints = constraints or {}
    models = judge_models(rows, constraints, examples)
    if not models.fitting:
        return NoneFits(
            nearest=nearest_misses(models.cautious, models.measured, constraints),
            loosened=loosen_constraints(models.cautious, models.measured, constraints),
        )
    if prefer is None:
        best = knee(models.fitting_front(objectives), objectives)
    else:
        best = min(models.fitting, key=lambda row: (loss(row, prefer), *tie_break(row)))
    assert best is not None  # the front of at least one row has a member
    return Picked(row=models.measured[best.trial], expected=models.expected[best.trial])
