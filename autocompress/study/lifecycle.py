"""Creating a study, or opening it again with an unchanged plan."""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import optuna
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from autocompress.config import StudyPlan, value_at
from autocompress.core.errors import UsageError
from autocompress.core.json_types import Json
from autocompress.study.connections import parse_url, shown, sqlite_path
from autocompress.study.database import open_storage
from autocompress.study.optuna_adapter import DIRECTIONS, rewrite_constraints
from autocompress.study.queries import find_study, read_rows
from autocompress.study.tables import CandidateRow, StudyRow

UID = "uid"  # attribute of Optuna's study; unlike its number it is never reused after a deletion


@dataclass(frozen=True, kw_only=True)
class OpenedStudy:
    """A study in our tables, and Optuna's storage."""

    ac_id: int
    storage: optuna.storages.RDBStorage


def open_or_create(plan: StudyPlan) -> OpenedStudy:
    """Open the study of a plan, or create it; UsageError, naming the first different key, where it has another plan."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(plan.storage)
    try:
        return OpenedStudy(ac_id=_open_study_row(plan, storage), storage=storage)
    except BaseException:
        storage.engine.dispose()
        raise


def update_plan(session: Session, ac_id: int, plan: StudyPlan) -> None:
    """Store the keys of a plan that may change on resuming; edited constraints apply to the finished trials, too."""
    row, values = session.get_one(StudyRow, ac_id), _plan_columns(plan)
    if row.constraints != values["constraints"]:
        rewrite_constraints(session, row, read_rows(session, row), values["constraints"])
    for name, value in values.items():
        setattr(row, name, value)


def _open_study_row(plan: StudyPlan, storage: optuna.storages.RDBStorage) -> int:
    """Find or add the row of the study that belongs to Optuna's study of this name; return its id."""
    study = _open_optuna_study(plan, storage)
    uid = study.user_attrs[UID]
    with Session(storage.engine, expire_on_commit=False) as session, session.begin():
        row = find_study(session, plan.study)
        if row is not None and row.uid != uid and _has_trials(session, row):
            # another program deleted Optuna's study without our rows
            session.execute(delete(StudyRow).where(StudyRow.id == row.id))
            row = None
        if row is None:
            row = StudyRow(study_id=study._study_id, uid=uid, **_plan_columns(plan))
            session.add(row)
            session.flush()
        elif row.uid != uid:  # two processes create the study at the same time
            row.uid = uid
        else:
            _refuse_changed_plan(plan, row.plan)
        return row.id


def _has_trials(session: Session, row: StudyRow) -> bool:
    return session.scalars(select(CandidateRow.id).where(CandidateRow.ac_study_id == row.id)).first() is not None


def _open_optuna_study(plan: StudyPlan, storage: optuna.storages.RDBStorage) -> optuna.Study:
    """Open or create Optuna's study, marked as ours; UsageError where another program made it."""
    directions = [DIRECTIONS[name] for name in plan.objectives]
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study = optuna.create_study(storage=storage, study_name=plan.study, directions=directions, load_if_exists=True)
        if UID in study.user_attrs:
            return study
        if study.get_trials(deepcopy=False):
            raise UsageError(
                f"study: {plan.study!r}: another program made a study of that name in {shown(plan.storage)}; choose another"
                " name or another storage"
            )
        study.set_metric_names(list(plan.objectives))  # the names carry their units
        study.set_user_attr(UID, uuid.uuid4().hex)
    return study


def _refuse_changed_plan(plan: StudyPlan, stored: Mapping[str, object]) -> None:
    """Raise UsageError, naming the key, where the plan differs from the stored one in a key that must not change."""
    if changed := plan.difference(stored):
        raise UsageError(
            f"{plan.place(changed[0])}: {value_at(_portable_plan(plan), changed[0])!r}, but study {plan.study} was begun with"
            f" {value_at(stored, changed[0])!r}; restore that value, or give the study another name"
        )


def _plan_columns(plan: StudyPlan) -> Json:
    """Return the columns of ac_studies that come from the plan."""
    return {
        "plan": _portable_plan(plan),
        "constraints": plan.constraints.model_dump(),
        "artifacts": _artifacts_folder(plan),
    }


def _portable_plan(plan: StudyPlan) -> Json:
    """Return the plan as in its file, without the keys of this machine."""
    changeable = plan.model_dump(mode="json", include={"study", "constraints", "budget", "recovery", "workers"})
    return {**changeable, **plan.identity()}


def _artifacts_folder(plan: StudyPlan) -> str | None:
    """Return the artifacts' folder relative to the database file, so that both can be moved together."""
    path = sqlite_path(parse_url(plan.storage))
    if path is None:
        return None
    return os.path.relpath(plan.artifacts.path, path.absolute().parent)
