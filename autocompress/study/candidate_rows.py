"""Our half of a trial: what is written to the `ac_` tables, always inside one short transaction of the caller's."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from autocompress.core.measurement import Measurement, Quality
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome
from autocompress.selection import reference_point
from autocompress.storage.artifact_store import Store
from autocompress.study.queries import other_devices_of, own_measurement, read_teacher
from autocompress.study.queue import QueuedTrial
from autocompress.study.row_mapping import (
    checked,
    finite,
    measurement_values,
    outcome_of,
    plain,
    quality_values,
    result_of,
    teacher_of,
)
from autocompress.study.tables import ArtifactRow, CandidateRow, MeasurementRow, OtherDeviceRow, StudyRow, TeacherRow

DUPLICATE_OF, DUPLICATES_RUNG = "twin_of", "twins_rung"  # among the facts of an outcome that was not measured anew
FINISHED = ("complete", "stopped", "failed")


@dataclass(frozen=True, kw_only=True)
class BudgetSpent:
    """What a study has used of its budget. Trial 0, retries and reused twins do not count."""

    trials: int  # finished ones
    seconds: float  # of all runs
    retries_waiting: int  # interrupted trials that the next `ask` gives out first


def begin(session: Session, ac_id: int, queued: QueuedTrial, recipe: Recipe, rung: int | None) -> str:
    """A running trial; returns its uid. Doing it twice changes nothing."""
    known = find(session, ac_id, queued.number)
    if known is not None:
        return known.uid
    row = CandidateRow(
        ac_study_id=ac_id,
        trial_id=queued.trial_id,
        uid=uuid.uuid4().hex,
        number=queued.number,
        recipe=recipe.as_dict(),
        recipe_key=recipe.key,
        rung=rung,
        state="running",
        stages={},
        facts={},
        retry_of=queued.retry_of,
    )
    session.add(row)
    session.flush()
    return row.uid


def record(
    session: Session,
    row: CandidateRow | None,
    recipe: Recipe,
    outcome: Outcome,
    constraints: Mapping[str, Any],
) -> None:
    """How a running trial ended; one that has ended already stays as it is."""
    if row is None or row.recipe_key != recipe.key:
        raise ValueError(f"a trial with the recipe {recipe.describe()} was never asked under this number")
    if row.state in FINISHED:
        return
    study, number = session.get_one(StudyRow, row.ac_study_id), row.number
    teacher = teacher_of(outcome) if number == 0 else read_teacher(session, study)
    outcome = checked(outcome, result_of(number, recipe, outcome, teacher))
    row.rung = outcome.facts.get(DUPLICATES_RUNG, row.rung)
    row.state, row.reason, row.seconds = outcome.state, outcome.reason, finite(outcome.seconds)
    row.stages, row.facts = plain(outcome.stages), plain(outcome.facts)
    row.constraints = dict(constraints)
    row.twin_of = outcome.facts.get(DUPLICATE_OF)
    row.log = None if row.twin_of is not None else Store(Path()).log(number).as_posix()
    if outcome.sha256 is not None:
        session.add(ArtifactRow(candidate_id=row.id, sha256=outcome.sha256))
    if outcome.measurement is not None:
        session.add(MeasurementRow(candidate_id=row.id, **measurement_values(outcome.measurement)))
    _add_other_devices(session, row, outcome.other_devices)
    if number == 0 and teacher is not None:
        _record_teacher(session, study, outcome, constraints)


def record_other_devices(session: Session, ac_id: int, number: int, found: Mapping[str, Measurement]) -> None:
    """What a complete trial is on further devices; what is known of them is replaced."""
    row = _complete(session, ac_id, number)
    known = delete(OtherDeviceRow).where(OtherDeviceRow.candidate_id == row.id, OtherDeviceRow.device.in_(found))
    session.execute(known.where(OtherDeviceRow.split != "test"))
    _add_other_devices(session, row, found)


def record_quality(session: Session, ac_id: int, number: int, quality: Quality, device: str | None = None) -> None:
    """The quality of a finished trial on another split; a second time replaces the first. `device`: a further one."""
    row = _complete(session, ac_id, number)
    table = MeasurementRow if device is None else OtherDeviceRow
    place = {"candidate_id": row.id, "split": quality.split, **({} if device is None else {"device": device})}
    session.execute(delete(table).filter_by(**place))
    session.add(table(**{**quality_values(quality), **place}))


def interrupt(session: Session, ac_id: int, number: int, retry: int | None) -> None:
    """A running trial whose search ended; `retry` is the number under which it waits again."""
    what_next = f"tried again as trial {retry}" if retry is not None else "not tried again, for its searches keep dying"
    query = update(CandidateRow).where(
        CandidateRow.ac_study_id == ac_id, CandidateRow.number == number, CandidateRow.state == "running"
    )
    session.execute(query.values(state="failed", reason=f"interrupted; {what_next}"))


def find_duplicate(
    session: Session, ac_id: int, recipe: Recipe, rung: int, constraints: Mapping[str, Any]
) -> Outcome | None:
    """The outcome of the same candidate, trained as far or further; complete, or stopped under the same constraints as now."""
    query = select(CandidateRow).where(
        CandidateRow.ac_study_id == ac_id,
        CandidateRow.recipe_key == recipe.key,
        CandidateRow.state.in_(("complete", "stopped")),
        CandidateRow.rung >= rung,
    )
    rows = sorted(session.scalars(query), key=lambda row: (row.state, -(row.rung or 0), row.number))  # complete first
    for row in rows:
        if row.state == "complete" or row.constraints == dict(constraints):
            number = row.number if row.twin_of is None else row.twin_of
            reason = row.reason if row.state == "stopped" else f"the same candidate as trial {number}"
            outcome = _outcome(session, row)
            facts = {**outcome.facts, DUPLICATE_OF: number, DUPLICATES_RUNG: row.rung}
            return replace(outcome, reason=reason, seconds=0.0, stages={}, facts=facts)
    return None


def spent(session: Session, ac_id: int, retries_waiting: int) -> BudgetSpent:
    """Counts of the study."""
    count = select(func.count()).where(
        CandidateRow.ac_study_id == ac_id,
        CandidateRow.number > 0,
        CandidateRow.state.in_(FINISHED),
        CandidateRow.retry_of.is_(None),
        CandidateRow.twin_of.is_(None),
    )
    seconds = session.scalar(select(StudyRow.seconds).where(StudyRow.id == ac_id))
    return BudgetSpent(trials=session.scalar(count) or 0, seconds=seconds or 0.0, retries_waiting=retries_waiting)


def find(session: Session, ac_id: int, number: int) -> CandidateRow | None:
    """A trial's row."""
    query = select(CandidateRow).where(CandidateRow.ac_study_id == ac_id, CandidateRow.number == number)
    return session.scalars(query).one_or_none()


def _complete(session: Session, ac_id: int, number: int) -> CandidateRow:
    row = find(session, ac_id, number)
    if row is None or row.state != "complete":
        state = "unknown" if row is None else row.state
        raise ValueError(f"trial {number} is {state}, and only a complete one is measured again")
    return row


def _add_other_devices(session: Session, row: CandidateRow, found: Mapping[str, Measurement]) -> None:
    for device, seen in found.items():
        values = measurement_values(seen)
        session.add(OtherDeviceRow(candidate_id=row.id, device=device, sha256=seen.sha256, **values))


def _record_teacher(session: Session, study: StudyRow, outcome: Outcome, constraints: Mapping[str, Any]) -> None:
    teacher = teacher_of(outcome)
    session.add(
        TeacherRow(
            ac_study_id=study.id,
            sha256=teacher.sha256,
            latency_ms=teacher.latency_ms,
            size_mb=teacher.size_mb,
            quality=teacher.quality,
            examples=teacher.examples,
        )
    )
    corner = reference_point(result_of(0, Recipe(), outcome, teacher), constraints.get("max_drop"))
    study.reference_drop_points = corner.drop_points
    study.reference_latency_ms, study.reference_size_mb = corner.latency_ms, corner.size_mb


def _outcome(session: Session, row: CandidateRow) -> Outcome:
    seen = {
        measured.split: measured
        for measured in session.scalars(select(MeasurementRow).where(MeasurementRow.candidate_id == row.id))
    }
    sha256 = session.scalar(select(ArtifactRow.sha256).where(ArtifactRow.candidate_id == row.id))
    return outcome_of(row, sha256, own_measurement(seen), other_devices_of(session, row.id))
