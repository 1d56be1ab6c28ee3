"""Creating a study or finding it again, with the plan it was created with."""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from autocompress.config import StudyPlan, value_at
from autocompress.core.errors import UsageError
from autocompress.study.connections import parse_url, shown, sqlite_path
from autocompress.study.database import open_storage
from autocompress.study.optuna_adapter import DIRECTIONS, rewrite_constraints
from autocompress.study.queries import find_study, read_rows
from autocompress.study.tables import CandidateRow, StudyRow

UID = "uid"  # attribute of Optuna's study; the numbers of deleted studies are given away again, this is not


@dataclass(frozen=True, kw_only=True)
class OpenedStudy:
    """A study in both halves of the database."""

    ac_id: int
    storage: optuna.storages.RDBStorage


def open_or_create(plan: StudyPlan) -> OpenedStudy:
    """The study of a plan; UsageError where it exists with another plan, naming the first key that differs."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(plan.storage)
    study = _optunas_study(plan, storage)
    uid = study.user_attrs[UID]
    with Session(storage.engine, expire_on_commit=False) as session, session.begin():
        row = find_study(session, plan.study)
        if row is not None and row.uid != uid and _has_trials(session, row):
            session.execute(delete(StudyRow).where(StudyRow.id == row.id))  # left by a program that deletes carelessly
            row = None
        if row is None:
            row = StudyRow(study_id=study._study_id, uid=uid, **_stored(plan))
            session.add(row)
            session.flush()
        elif row.uid != uid:  # two processes create it at once
            row.uid = uid
        else:
            _check(plan, row.plan)
        return OpenedStudy(ac_id=row.id, storage=storage)


def renew(session: Session, ac_id: int, plan: StudyPlan) -> None:
    """Store what may change on resuming; edited constraints hold for the trials there are, too."""
    row, values = session.get_one(StudyRow, ac_id), _stored(plan)
    if row.constraints != values["constraints"]:
        rewrite_constraints(session, row, read_rows(session, row), values["constraints"])
    for name, value in values.items():
        setattr(row, name, value)


def _has_trials(session: Session, row: StudyRow) -> bool:
    return session.scalars(select(CandidateRow.id).where(CandidateRow.ac_study_id == row.id)).first() is not None


def _optunas_study(plan: StudyPlan, storage: optuna.storages.RDBStorage) -> optuna.Study:
    """Optuna's half, marked as ours."""
    directions = [DIRECTIONS[name] for name in plan.objectives]
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study = optuna.create_study(storage=storage, study_name=plan.study, directions=directions, load_if_exists=True)
        if UID in study.user_attrs:
            return study
        if study.get_trials(deepcopy=False):
            raise UsageError(
                f"study: {shown(plan.storage)} holds a study named {plan.study!r} that another program made;"
                " choose another name or another storage"
            )
        study.set_metric_names(list(plan.objectives))  # the names carry their units
        study.set_user_attr(UID, uuid.uuid4().hex)
    return study


def _check(plan: StudyPlan, stored: Mapping[str, Any]) -> None:
    """UsageError, naming the key, where what must not change in a plan is not as it was stored."""
    if changed := plan.difference(stored):
        raise UsageError(
            f"{plan.place(changed[0])}: {value_at(_written(plan), changed[0])!r} here, but study {plan.study} was begun with"
            f" {value_at(stored, changed[0])!r}; put that back, or give the study another name"
        )


def _stored(plan: StudyPlan) -> dict[str, Any]:
    """Columns of ac_studies that come from the plan."""
    return {"plan": _written(plan), "constraints": plan.constraints.model_dump(), "artifacts": _folder(plan)}


def _written(plan: StudyPlan) -> dict[str, Any]:
    """The plan as in its file, without what belongs to this machine."""
    rest = plan.model_dump(mode="json", include={"study", "constraints", "budget", "recovery", "workers"})
    return {**rest, **plan.identity()}


def _folder(plan: StudyPlan) -> str | None:
    """The artifacts' folder relative to the database file, so that both can be moved together."""
    path = sqlite_path(parse_url(plan.storage))
    if path is None:
        return None
    return os.path.relpath(plan.artifacts.path, path.absolute().parent)
