"""Which trial comes next, and what becomes of trials whose search died: Optuna's queue, used with care.

A trial that waits has its parameters fixed. An interrupted trial fails, and a new one with the same parameters waits in
its place; Optuna's own callback for that would copy the dead attempt's constraints, which could then not be set again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

MOST_RETRIES = 2  # after deaths of the whole search; ending it in good order costs none
HISTORY, FIRST = "retry_history", "failed_trial"  # Optuna's names
DEATHS, RECIPE, RUNG = "ac_deaths", "ac_recipe", "ac_rung"


@dataclass(frozen=True, kw_only=True)
class QueuedTrial:
    """A trial that has just begun to run."""

    trial: optuna.Trial
    number: int
    trial_id: int
    retry_of: int | None
    rung: int | None = None  # where one was given when it was enqueued


def next_trial(
    study: optuna.Study, waiting: Iterable[FrozenTrial], first: tuple[str, int | None] | None = None
) -> QueuedTrial:
    """The next trial, running: retries first, then the work named `first`, then what was enqueued for a certain rung, then in
    the order in which they were enqueued, then a new one from the sampler."""

    def turn(trial: FrozenTrial) -> tuple[bool, bool, bool, int]:
        wanted = _work_of(trial)
        return retry_of(trial) is None, wanted != first, wanted[1] is None, trial.number

    for trial in sorted(waiting, key=turn):
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


def enqueue(study: optuna.Study, params: Mapping[str, Any], recipe_key: str, rung: int | None) -> FrozenTrial:
    """Let a trial with these parameters wait, and return it; `recipe_key` and `rung` tell equal work."""
    attrs = {"fixed_params": dict(params), RECIPE: recipe_key, RUNG: rung}
    waiting = create_trial(state=TrialState.WAITING, system_attrs=attrs)
    storage = study._storage
    return storage.get_trial(storage.create_new_trial(study._study_id, waiting))


def work(waiting: Iterable[FrozenTrial]) -> set[tuple[str, int | None]]:
    """Keys of the recipes that wait, each with its rung."""
    return {_work_of(trial) for trial in waiting}


def _work_of(trial: FrozenTrial) -> tuple[str, int | None]:
    return trial.system_attrs.get(RECIPE, ""), trial.system_attrs.get(RUNG)


def requeue(study: optuna.Study, trial: FrozenTrial, recipe_key: str, rung: int | None, died: bool) -> int | None:
    """Let an interrupted trial wait again under a new number, and return that; null after too many deaths.

    Doing it twice gives the same number, so that it can be done again after an interruption of its own.
    """
    for other in study.get_trials(deepcopy=False):
        if retry_of(other) == trial.number:
            return other.number
    deaths = trial.system_attrs.get(DEATHS, 0) + died
    if deaths > MOST_RETRIES:
        return None
    history = [*trial.system_attrs.get(HISTORY, []), trial.number]
    attrs = {
        "fixed_params": dict(trial.params),
        FIRST: history[0],
        HISTORY: history,
        DEATHS: deaths,
        RECIPE: recipe_key,
        RUNG: rung,
    }
    waiting = create_trial(state=TrialState.WAITING, system_attrs=attrs)
    return study._storage.get_trial_number_from_id(study._storage.create_new_trial(study._study_id, waiting))


def retry_of(trial: FrozenTrial) -> int | None:
    """Number of the trial that this one repeats."""
    history = trial.system_attrs.get(HISTORY)
    return int(history[-1]) if history else None


def in_state(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    """The trials in that state, in the order in which they were created."""
    return study.get_trials(deepcopy=False, states=(state,))


def trial_object(study: optuna.Study, trial_id: int) -> optuna.Trial:
    """The trial as something that attributes can be set on."""
    return optuna.trial.Trial(study, trial_id)
