"""The trials of a study that wait for their turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from autocompress.core.recipe import Recipe, Scalar
from autocompress.space.space import Space
from autocompress.study import queue
from autocompress.study.retries import with_retries
from autocompress.study.study_connection import StudyConnection
from autocompress.study.tables import CandidateRow


class WaitingTrials:
    """Optuna's waiting trials, read once and kept up to date by this process, which alone adds and starts trials."""

    def __init__(self, connection: StudyConnection) -> None:
        self._connection = connection
        self._trials: dict[int, FrozenTrial] | None = None  # by number; null: to be read

    def by_number(self) -> dict[int, FrozenTrial]:
        """Return the waiting trials by number."""
        if self._trials is None:
            study = self._connection.optuna_study
            trials = with_retries(lambda: queue.trials_in_state(study, TrialState.WAITING))
            self._trials = {trial.number: trial for trial in trials}
        return self._trials

    def eligible(self, retries: bool) -> list[FrozenTrial]:
        """Return the waiting trials; without `retries`, those that repeat no other."""
        return [trial for trial in self.by_number().values() if retries or queue.retry_of(trial) is None]

    def count_retries(self) -> int:
        """Count the waiting trials that repeat an interrupted one."""
        return sum(queue.retry_of(trial) is not None for trial in self.by_number().values())

    def enqueue(self, space: Space, recipes: Iterable[Recipe], most: int | None, rung: int | None) -> int:
        """Add at most `most` of the recipes that neither wait nor were begun; return how many were added.

        With a `rung`, a recipe counts as begun only where it was trained at least as far.
        """
        added = 0
        for recipe in recipes:
            if added == most:
                break
            if not self._is_known(recipe.key, rung):
                self.add(space.params(recipe), recipe.key, rung)
                added += 1
        return added

    def add(self, params: Mapping[str, Scalar], recipe_key: str = "", rung: int | None = None) -> None:
        """Let a trial with these parameters wait."""
        waiting = self.by_number()
        trial = with_retries(lambda: queue.enqueue(self._connection.optuna_study, params, recipe_key, rung))
        waiting[trial.number] = trial

    def start_next(self, retries: bool, preferred: tuple[str, int | None] | None) -> queue.QueuedTrial:
        """Set the next trial running and return it, a new one of the sampler where none waits; see `queue.next_trial`."""
        waiting, eligible = self.by_number(), self.eligible(retries)
        queued = with_retries(lambda: queue.next_trial(self._connection.optuna_study, eligible, preferred))
        waiting.pop(queued.number, None)
        return queued

    def forget(self) -> None:
        """Read the waiting trials again when they are needed next."""
        self._trials = None

    def _is_known(self, recipe_key: str, rung: int | None) -> bool:
        """Return whether a recipe waits or was begun; with a `rung`, to be trained at least as far."""
        query = select(CandidateRow.id).filter_by(ac_study_id=self._connection.ac_id, recipe_key=recipe_key).limit(1)
        if rung is not None:
            query = query.where(CandidateRow.rung >= rung)
        waiting = queue.waiting_work(self.by_number().values())
        rungs = [waiting_rung for key, waiting_rung in waiting if key == recipe_key]
        if any(rung is None or (waiting_rung is not None and waiting_rung >= rung) for waiting_rung in rungs):
            return True
        return self._connection.read(lambda session: session.scalar(query) is not None)
