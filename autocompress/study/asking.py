"""Asking for the next trial: out of the queue, or proposed by the sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from optuna.trial import TrialState, create_trial

from autocompress.core.recipe import Recipe, Scalar
from autocompress.core.trial_row import TrialRow
from autocompress.space.space import Space
from autocompress.study import candidate_rows, queue
from autocompress.study.retries import with_retries
from autocompress.study.study_connection import StudyConnection
from autocompress.study.waiting_trials import WaitingTrials


@dataclass(frozen=True, kw_only=True)
class AskedTrial:
    """A trial to run."""

    number: int
    recipe: Recipe
    rung: int
    retry: bool  # it repeats an interrupted trial, and does not count in the budget

    @property
    def row(self) -> TrialRow:
        """Return the row of the trial while it runs."""
        return TrialRow(trial=self.number, state="running", reason=None, recipe=self.recipe, rung=self.rung)


def ask_trial(
    connection: StudyConnection,
    waiting: WaitingTrials,
    space: Space,
    rung_of: Callable[[Recipe], int],
    pinned: Mapping[str, Scalar] | None,
    promoted: tuple[Recipe, int] | None,
    retries: bool,
) -> AskedTrial:
    """Start the next trial and return it; see `Study.ask`."""
    if promoted is not None:
        waiting.enqueue(space, [promoted[0]], most=None, rung=promoted[1])
    elif pinned and not waiting.eligible(retries):
        waiting.add(pinned)
    queued = waiting.start_next(retries, None if promoted is None else (promoted[0].key, promoted[1]))
    recipe = with_retries(lambda: space.suggest(queued.trial))
    rung = rung_of(recipe) if queued.rung is None else queued.rung
    uid = connection.write(
        lambda session: candidate_rows.begin_candidate(session, connection.ac_id, queued, recipe, rung)
    )
    with_retries(lambda: queued.trial.set_user_attr("uid", uid))
    connection.running[queued.number] = queued.trial
    return AskedTrial(number=queued.number, recipe=recipe, rung=rung, retry=queued.retry_of is not None)


def begin_teacher(connection: StudyConnection, space: Space, recipe: Recipe) -> None:
    """Start trial 0, with parameters where the space contains the teacher; a second call changes nothing."""
    queued = with_retries(lambda: _start_trial_0(connection, space, recipe))
    connection.write(lambda session: candidate_rows.begin_candidate(session, connection.ac_id, queued, recipe, None))


def _start_trial_0(connection: StudyConnection, space: Space, recipe: Recipe) -> queue.QueuedTrial:
    params = space.params(recipe) if space.contains(recipe) else None
    study, storage = connection.optuna_study, connection.optuna_storage
    if not study.get_trials(deepcopy=False):
        attrs = {"fixed_params": params} if params else {}
        storage.create_new_trial(study._study_id, create_trial(state=TrialState.WAITING, system_attrs=attrs))
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, 0)
    if storage.get_trial(trial_id).state == TrialState.WAITING:
        storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    trial = queue.trial_object(study, trial_id)
    if params:
        space.suggest(trial)
    return queue.QueuedTrial(trial=trial, number=0, trial_id=trial_id, retry_of=None)
