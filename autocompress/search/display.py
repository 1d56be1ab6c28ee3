"""The protocol of the displays that show a running search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome, TrialRow


class Display(Protocol):
    """Shows the progress of a search."""

    def stage(self, worker: int, trial: int, label: str, stage: str, fraction: float) -> None:
        """Show how far a worker is in a stage of a trial."""

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, label: str) -> None:
        """Show how a trial ended."""

    def abandoned(self, worker: int) -> None:
        """Stop showing a worker's trial, which was abandoned."""

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None:
        """Show how much of the budget is used."""

    def front(self, rows: Sequence[TrialRow], teacher: TrialRow | None) -> None:
        """Show the front so far."""

    def message(self, text: str) -> None:
        """Show one line of text."""
