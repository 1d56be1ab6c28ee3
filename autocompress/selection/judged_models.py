"""The models that can be picked, each judged by its measured drop and by the drop to expect on other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import Constraints, broken
from autocompress.selection.dominance import AXES, candidates, on_front
from autocompress.selection.drop_estimate import ExpectedDrop, as_expected, expected_drop


@dataclass(frozen=True)
class JudgedModels:
    """The complete models of a study under some constraints."""

    measured: dict[int, TrialRow]  # trial -> row as measured
    expected: dict[int, ExpectedDrop]  # trial -> drop to expect on other rows
    cautious: list[TrialRow]  # all of them, with the drop that max_drop is compared with
    fitting: list[TrialRow]  # those that hold the constraints, with the expected drop

    def with_expected_drop(self, trial: int) -> TrialRow:
        """Return the row of a trial with its expected drop."""
        return as_expected(self.measured[trial], self.expected[trial].drop)

    def fitting_front(self, objectives: Sequence[str]) -> list[TrialRow]:
        """Return the fitting rows that no other fitting row dominates."""
        members = on_front(self.fitting, objectives)
        return [row for row in self.fitting if row.trial in members]


def judge_models(rows: Sequence[TrialRow], constraints: Constraints, examples: int | None) -> JudgedModels:
    """Judge every complete model; `examples` is the number of validation rows."""
    measured = {row.trial: row for row in candidates(rows, (*AXES, "drop"))}
    expected = expected_drop(rows, examples)
    cautious = [replace(row, drop=max(_least_drop(row), expected[trial].cautious)) for trial, row in measured.items()]
    fitting = [measured[row.trial] for row in cautious if not broken(row, constraints)]
    return JudgedModels(measured, expected, cautious, [as_expected(row, expected[row.trial].drop) for row in fitting])


def _least_drop(row: TrialRow) -> float:
    """Return the lower end of the drop's interval; the drop itself where no soft drop or no interval is known."""
    if row.soft_drop is not None and row.drop_interval is not None:
        return row.drop_interval[0]
    return row.drop or 0.0
