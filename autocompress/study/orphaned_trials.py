"""Settle trials that are marked as running but have no process: after a crash of their search, or at its end."""

from __future__ import annotations

from functools import partial

from optuna.trial import FrozenTrial, TrialState

from autocompress.core.trial_row import TrialRow
from autocompress.study import candidate_rows, queue
from autocompress.study.recording import TrialRecorder
from autocompress.study.retries import with_retries
from autocompress.study.study_connection import StudyConnection
from autocompress.study.tables import CandidateRow
from autocompress.study.waiting_trials import WaitingTrials


def settle_orphaned_trials(
    connection: StudyConnection, waiting: WaitingTrials, recorder: TrialRecorder, crashed: bool
) -> None:
    """Settle every trial that runs in Optuna's tables; `crashed`: their search crashed.

    A trial without a row of ours, and the teacher, wait again under the same number. A trial that is finished in our tables
    is finished in Optuna's. Every other trial fails, and waits again under a new number.
    """
    connection.running.clear()
    waiting.forget()
    for trial in with_retries(lambda: queue.trials_in_state(connection.optuna_study, TrialState.RUNNING)):
        row = connection.read(partial(candidate_rows.find_candidate, ac_id=connection.ac_id, number=trial.number))
        if row is None or (trial.number == 0 and row.state == "running"):
            _let_wait_again(connection, trial)
        elif row.state in candidate_rows.FINISHED:
            recorder.finish_optuna_trial(trial.number)
        else:
            requeue_trial(connection, recorder, trial, row, crashed)
    waiting.forget()


def requeue_trial(
    connection: StudyConnection, recorder: TrialRecorder, trial: FrozenTrial, row: CandidateRow, crashed: bool
) -> TrialRow:
    """Let a running trial fail and wait again under a new number; return the row of the failed attempt."""
    study = connection.optuna_study
    retry = with_retries(lambda: queue.requeue(study, trial, row.recipe_key, row.rung, crashed))
    connection.write(lambda session: candidate_rows.mark_interrupted(session, connection.ac_id, trial.number, retry))
    return recorder.finish_optuna_trial(trial.number)


def _let_wait_again(connection: StudyConnection, trial: FrozenTrial) -> None:
    connection.write(lambda session: None)  # checks the lease
    with_retries(lambda: connection.optuna_storage.set_trial_state_values(trial._trial_id, TrialState.WAITING))
