"""A finished trial in Optuna's tables: values, constraints, attributes and state, as samplers and the dashboard read them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.orm import Session

from autocompress.core.json_types import Json
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
           "compression", "memory_mb", "cold_ms", "throughput", "start_ms", "text_ms",
           "download_mb", "seconds", "sha256", "reason")  # fmt: skip
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
    """Write all that Optuna freezes with the state, then the state. Calling it again after an interruption is safe.

    Every constraint is set on every trial, in the order of names, as GPSampler needs.
    """
    if study._storage.get_trial(trial._trial_id).state.is_finished():
        return
    _set_user_attrs(engine, trial._trial_id, flat_attributes(row))
    with warnings.catch_warnings(action="ignore"):  # an interrupted attempt has set the same value
        for name, value in violations(row, constraints).items():
            trial.set_constraint(name, value)
    values = [getattr(row, name) for name in objectives] if row.state == "complete" else None
    study.tell(trial.number, values, state=STATES[row.state], skip_if_finished=True)


def _set_user_attrs(engine: Engine, trial_id: int, values: Mapping[str, object]) -> None:
    """Write all attributes in one transaction: Optuna's API takes one for each of some twenty."""
    table = optuna_user_attributes
    rows = [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in values.items()]
    with engine.begin() as connection:
        connection.execute(delete(table).where(table.c.trial_id == trial_id, table.c.key.in_(values)))
        connection.execute(insert(table), rows)


def flat_attributes(row: TrialRow) -> dict[str, object]:
    """Return decisions and measurements as scalars under their JSON names, without nulls."""
    attributes: Json = {**row.recipe.as_dict(), **{name: getattr(row, name) for name in NUMBERS}}
    for name in INTERVALS:
        interval = getattr(row, f"{name}_interval")
        if interval is not None:
            attributes[f"{name}_low"], attributes[f"{name}_high"] = interval
    return {name: value for name, value in attributes.items() if value is not None}


def rewrite_constraints(
    session: Session, study: StudyRow, rows: Sequence[TrialRow], constraints: Mapping[str, float | None]
) -> None:
    """Rewrite the constraints of finished trials after the study file was edited: samplers must not mix two sets.

    Optuna freezes finished trials and has no API for this, so its table is written; call it before Optuna reads.
    """
    query = select(CandidateRow.number, CandidateRow.trial_id).where(CandidateRow.ac_study_id == study.id)
    ids = {row.number: row.trial_id for row in session.execute(query)}
    table = optuna_trial_attributes
    for row in rows:
        if row.state == "running":
            continue
        is_constraint = (table.c.trial_id == ids[row.trial]) & table.c.key.startswith(PREFIX)
        session.execute(delete(table).where(is_constraint))
        for name, value in violations(row, constraints).items():
            values = {"trial_id": ids[row.trial], "key": PREFIX + name, "value_json": json.dumps(value)}
            session.execute(insert(table).values(values))
