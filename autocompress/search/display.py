"""What a search tells its user while it runs, however that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome, TrialRow


class Display(Protocol):
    """Where a search's news go."""

    def stage(self, worker: int, trial: int, words: str, stage: str, fraction: float) -> None:
        """A worker is so far in a stage of a trial."""

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, words: str) -> None:
        """A trial ended."""

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None:
        """How much of the budget is used."""

    def front(self, rows: Sequence[TrialRow], teacher: TrialRow | None) -> None:
        """The front so far."""

    def message(self, text: str) -> None:
        """One line of news."""
