"""Optuna's half of a trial: values, constraints, flat attributes and state, as samplers and the dashboard read them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.orm import Session

from autocompress.core.trial_row import TrialRow
from autocompress.selection import violations
from autocompress.study.tables import CandidateRow, StudyRow, optuna_trial_attributes, optuna_user_attributes

DIRECTIONS = {
    "quality": StudyDirection.MAXIMIZE,
    "latency_ms": StudyDirection.MINIMIZE,
    "size_mb": StudyDirection.MINIMIZE,
}
STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
NUMBERS = ("rung", "quality", "drop", "soft_drop", "disagreement", "latency_ms", "latency_p95_ms", "speedup", "size_mb",
           "compression", "memory_mb", "cold_ms", "throughput", "start_ms", "seconds", "sha256", "reason")  # fmt: skip
INTERVALS = ("drop", "soft_drop", "speedup")
PREFIX = "constraints:"  # of Optuna's system attributes


def finish_trial(
    engine: Engine,
    study: optuna.Study,
    trial: optuna.Trial,
    row: TrialRow,
    objectives: Sequence[str],
    constraints: Mapping[str, float | None],
) -> None:
    """Write everything that is frozen afterwards, then the state. Can be done again after it was cut short.

    Every constraint is set on every trial, in the order of its name, as GPSampler needs.
    """
    if study._storage.get_trial(trial._trial_id).state.is_finished():
        return
    _set_user_attrs(engine, trial._trial_id, flat(row))
    with warnings.catch_warnings(action="ignore"):  # set already, by the attempt that was cut short: the same value
        for name, value in violations(row, constraints).items():
            trial.set_constraint(name, value)
    values = [getattr(row, name) for name in objectives] if row.state == "complete" else None
    study.tell(trial.number, values, state=STATES[row.state], skip_if_finished=True)


def _set_user_attrs(engine: Engine, trial_id: int, values: Mapping[str, Any]) -> None:
    """All at once: Optuna's own way takes a transaction for each of some twenty."""
    table = optuna_user_attributes
    rows = [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in values.items()]
    with engine.begin() as connection:
        connection.execute(delete(table).where(table.c.trial_id == trial_id, table.c.key.in_(values)))
        connection.execute(insert(table), rows)


def flat(row: TrialRow) -> dict[str, Any]:
    """Decisions and measurements as scalars under the contract's names; what is null is left out."""
    found: dict[str, Any] = {**row.recipe.as_dict(), **{name: getattr(row, name) for name in NUMBERS}}
    for name in INTERVALS:
        interval = getattr(row, f"{name}_interval")
        if interval is not None:
            found[f"{name}_low"], found[f"{name}_high"] = interval
    return {name: value for name, value in found.items() if value is not None}


def rewrite_constraints(
    session: Session, study: StudyRow, rows: Sequence[TrialRow], constraints: Mapping[str, float | None]
) -> None:
    """Give finished trials the constraints of an edited study file: samplers and dashboard must not mix two sets.

    Optuna freezes finished trials and has no way to do this, so it is done in its table; call it before Optuna reads.
    """
    query = select(CandidateRow.number, CandidateRow.trial_id).where(CandidateRow.ac_study_id == study.id)
    ids = {number: trial_id for number, trial_id in session.execute(query)}  # noqa: C416  # rows are no pairs to dict()
    table = optuna_trial_attributes
    for row in rows:
        if row.state == "running":
            continue
        mine = (table.c.trial_id == ids[row.trial]) & table.c.key.startswith(PREFIX)
        session.execute(delete(table).where(mine))
        for name, value in violations(row, constraints).items():
            values = {"trial_id": ids[row.trial], "key": PREFIX + name, "value_json": json.dumps(value)}
            session.execute(insert(table).values(values))
