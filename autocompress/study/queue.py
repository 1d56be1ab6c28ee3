"""Optuna's queue of waiting trials: the next trial, enqueuing, and requeuing interrupted trials.

A waiting trial has fixed parameters. An interrupted trial fails, and a new one with the same parameters waits in its place.
Optuna's callback for that would copy the constraints of the failed attempt, which could then not be set again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

MOST_RETRIES = 2  # after crashes of the whole search; a regular end does not count
HISTORY, FIRST = "retry_history", "failed_trial"  # names of Optuna's
CRASHES, RECIPE, RUNG = "ac_deaths", "ac_recipe", "ac_rung"


@dataclass(frozen=True, kw_only=True)
class QueuedTrial:
    """A trial that has just begun to run."""

    trial: optuna.Trial
    number: int
    trial_id: int
    retry_of: int | None
    rung: int | None = None  # that it was enqueued for; null: none


def next_trial(
    study: optuna.Study, waiting: Iterable[FrozenTrial], preferred: tuple[str, int | None] | None = None
) -> QueuedTrial:
    """Set the next trial running and return it.

    The order: retries, the `preferred` recipe key and rung, trials enqueued for a certain rung, the other waiting ones by
    number, and a new one of the sampler where none waits.
    """

    def priority(trial: FrozenTrial) -> tuple[bool, bool, bool, int]:
        work = _work_of(trial)
        return retry_of(trial) is None, work != preferred, work[1] is None, trial.number

    for trial in sorted(waiting, key=priority):
        if study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
            return QueuedTrial(
                trial=trial_object(study, trial._trial_id),
                number=trial.number,
                trial_id=trial._trial_id,
                retry_of=retry_of(trial),
                rung=trial.system_attrs.get(RUNG),
            )
    new = study.ask()
    return QueuedTrial(trial=new, number=new.number, trial_id=new._trial_id, retry_of=None)


def enqueue(study: optuna.Study, params: Mapping[str, object], recipe_key: str, rung: int | None) -> FrozenTrial:
    """Add a waiting trial with these parameters and return it; `recipe_key` and `rung` identify equal work."""
    attrs = {"fixed_params": dict(params), RECIPE: recipe_key, RUNG: rung}
    waiting = create_trial(state=TrialState.WAITING, system_attrs=attrs)
    storage = study._storage
    return storage.get_trial(storage.create_new_trial(study._study_id, waiting))


def waiting_work(waiting: Iterable[FrozenTrial]) -> set[tuple[str, int | None]]:
    """Return the keys of the waiting recipes, each with its rung."""
    return {_work_of(trial) for trial in waiting}


def _work_of(trial: FrozenTrial) -> tuple[str, int | None]:
    return trial.system_attrs.get(RECIPE, ""), trial.system_attrs.get(RUNG)


def requeue(study: optuna.Study, trial: FrozenTrial, recipe_key: str, rung: int | None, crashed: bool) -> int | None:
    """Let an interrupted trial wait again under a new number, and return that; null after too many crashes.

    A second call returns the same number, so that it can be repeated after an interruption.
    """
    for candidate in study.get_trials(deepcopy=False):
        if retry_of(candidate) == trial.number:
            return candidate.number
    crashes = trial.system_attrs.get(CRASHES, 0) + crashed
    if crashes > MOST_RETRIES:
        return None
    history = [*trial.system_attrs.get(HISTORY, []), trial.number]
    attrs = {
        "fixed_params": dict(trial.params),
        FIRST: history[0],
        HISTORY: history,
        CRASHES: crashes,
        RECIPE: recipe_key,
        RUNG: rung,
    }
    waiting = create_trial(state=TrialState.WAITING, system_attrs=attrs)
    return study._storage.get_trial_number_from_id(study._storage.create_new_trial(study._study_id, waiting))


def retry_of(trial: FrozenTrial) -> int | None:
    """Return the number of the trial that this one repeats; null where it is no retry."""
    history = trial.system_attrs.get(HISTORY)
    return int(history[-1]) if history else None


def trials_in_state(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    """Return the trials in that state, in the order in which they were created."""
    return study.get_trials(deepcopy=False, states=(state,))


def trial_object(study: optuna.Study, trial_id: int) -> optuna.Trial:
    """Return the trial as an object that attributes can be set on."""
    return optuna.trial.Trial(study, trial_id)
