"""Writing the rows of trials in our tables, each within one short transaction of the caller's."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from autocompress.core.agreement import AGREEMENT, Agreement
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome
from autocompress.selection import reference_point
from autocompress.storage.artifact_store import Store
from autocompress.study.agreement_mapping import agreement_values
from autocompress.study.queries import other_devices_of, read_teacher, search_measurement
from autocompress.study.queue import MOST_RETRIES, QueuedTrial
from autocompress.study.row_mapping import (
    fail_without_numbers,
    finite,
    json_object,
    measurement_values,
    outcome_of,
    quality_values,
    teacher_of,
    trial_row,
)
from autocompress.study.shared_ratio import share_teacher_ratio
from autocompress.study.tables import ArtifactRow, CandidateRow, MeasurementRow, OtherDeviceRow, StudyRow, TeacherRow

DUPLICATE_OF, DUPLICATES_RUNG = "twin_of", "twins_rung"  # facts of an outcome that was not measured anew
FINISHED = ("complete", "stopped", "failed")


@dataclass(frozen=True, kw_only=True)
class BudgetSpent:
    """The used budget of a study. Trial 0, retries and duplicates do not count."""

    trials: int  # finished ones
    seconds: float  # of all runs
    retries_waiting: int  # interrupted trials that the next `ask` returns first


def begin_candidate(session: Session, ac_id: int, queued: QueuedTrial, recipe: Recipe, rung: int | None) -> str:
    """Add the row of a running trial and return its uid; a second call changes nothing."""
    existing = find_candidate(session, ac_id, queued.number)
    if existing is not None:
        return existing.uid
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


def record_outcome(
    session: Session,
    row: CandidateRow | None,
    recipe: Recipe,
    outcome: Outcome,
    constraints: Mapping[str, float | None],
) -> None:
    """Record the outcome of a running trial; a finished trial stays as it is. ValueError where it was never asked."""
    if row is None or row.recipe_key != recipe.key:
        raise ValueError(f"a trial with the recipe {recipe.describe()} was never asked under this number")
    if row.state in FINISHED:
        return
    study, number = session.get_one(StudyRow, row.ac_study_id), row.number
    teacher = teacher_of(outcome) if number == 0 else read_teacher(session, study)
    outcome = fail_without_numbers(outcome, trial_row(number, recipe, outcome, teacher))
    row.rung = outcome.facts.get(DUPLICATES_RUNG, row.rung)
    row.state, row.reason, row.seconds = outcome.state, outcome.reason, finite(outcome.seconds)
    row.stages, row.facts = json_object(outcome.stages), json_object(outcome.facts)
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
    for device in (None, *outcome.other_devices):
        share_teacher_ratio(session, study, number, device)


def record_other_devices(session: Session, ac_id: int, number: int, measurements: Mapping[str, Measurement]) -> None:
    """Record the measurements of a complete trial on secondary devices, by device; they replace earlier ones."""
    row = _complete_candidate(session, ac_id, number)
    earlier = delete(OtherDeviceRow).where(
        OtherDeviceRow.candidate_id == row.id, OtherDeviceRow.device.in_(measurements)
    )
    session.execute(earlier.where(OtherDeviceRow.split != "test"))
    _add_other_devices(session, row, measurements)
    for device in measurements:
        share_teacher_ratio(session, session.get_one(StudyRow, ac_id), number, device)


def record_quality(session: Session, ac_id: int, number: int, quality: Quality, device: str | None = None) -> None:
    """Record the quality of a complete trial on another split, and on a secondary `device` where one is named.

    It replaces an earlier quality on that split.
    """
    row = _complete_candidate(session, ac_id, number)
    table = MeasurementRow if device is None else OtherDeviceRow
    key = {"candidate_id": row.id, "split": quality.split, **({} if device is None else {"device": device})}
    session.execute(delete(table).filter_by(**key))
    session.add(table(**{**quality_values(quality), **key}))


def record_agreement(session: Session, ac_id: int, number: int, agreement: Agreement) -> None:
    """Record the comparison of a complete trial with the teacher on the agreement rows; it replaces an earlier one."""
    row = _complete_candidate(session, ac_id, number)
    session.execute(delete(MeasurementRow).filter_by(candidate_id=row.id, split=AGREEMENT))
    session.add(MeasurementRow(candidate_id=row.id, **agreement_values(agreement)))


def mark_interrupted(session: Session, ac_id: int, number: int, retry: int | None) -> None:
    """Let a running trial whose search ended fail; `retry` is the number under which it waits again."""
    consequence = (
        f"tried again as trial {retry}" if retry is not None else f"not tried again after {MOST_RETRIES + 1} crashes"
    )
    query = update(CandidateRow).where(
        CandidateRow.ac_study_id == ac_id, CandidateRow.number == number, CandidateRow.state == "running"
    )
    session.execute(query.values(state="failed", reason=f"interrupted; {consequence}"))


def find_duplicate(
    session: Session, ac_id: int, recipe: Recipe, rung: int, constraints: Mapping[str, float | None]
) -> Outcome | None:
    """Return the outcome of a trial of the same recipe, trained at least as far; null where there is none.

    A stopped trial counts only under the constraints that it was stopped under.
    """
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
            outcome = _read_outcome(session, row)
            facts = {**outcome.facts, DUPLICATE_OF: number, DUPLICATES_RUNG: row.rung}
            return replace(outcome, reason=reason, seconds=0.0, stages={}, facts=facts)
    return None


def count_budget_spent(session: Session, ac_id: int, retries_waiting: int) -> BudgetSpent:
    """Count the finished trials and read the used seconds of the study."""
    count = select(func.count()).where(
        CandidateRow.ac_study_id == ac_id,
        CandidateRow.number > 0,
        CandidateRow.state.in_(FINISHED),
        CandidateRow.retry_of.is_(None),
        CandidateRow.twin_of.is_(None),
    )
    seconds = session.scalar(select(StudyRow.seconds).where(StudyRow.id == ac_id))
    return BudgetSpent(trials=session.scalar(count) or 0, seconds=seconds or 0.0, retries_waiting=retries_waiting)


def find_candidate(session: Session, ac_id: int, number: int) -> CandidateRow | None:
    """Return the row of a trial; null where it was not begun."""
    query = select(CandidateRow).where(CandidateRow.ac_study_id == ac_id, CandidateRow.number == number)
    return session.scalars(query).one_or_none()


def _complete_candidate(session: Session, ac_id: int, number: int) -> CandidateRow:
    """Return the row of a complete trial; ValueError for any other."""
    row = find_candidate(session, ac_id, number)
    if row is None or row.state != "complete":
        state = "unknown" if row is None else row.state
        raise ValueError(f"trial {number} is {state}; only a complete trial can be measured again")
    return row


def _add_other_devices(session: Session, row: CandidateRow, measurements: Mapping[str, Measurement]) -> None:
    for device, measurement in measurements.items():
        values = measurement_values(measurement)
        session.add(OtherDeviceRow(candidate_id=row.id, device=device, sha256=measurement.sha256, **values))


def _record_teacher(
    session: Session, study: StudyRow, outcome: Outcome, constraints: Mapping[str, float | None]
) -> None:
    """Add the teacher's row, and fix the reference point of the hypervolume."""
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
    reference = reference_point(trial_row(0, Recipe(), outcome, teacher), constraints.get("max_drop"))
    study.reference_drop_points = reference.drop_points
    study.reference_latency_ms, study.reference_size_mb = reference.latency_ms, reference.size_mb


def _read_outcome(session: Session, row: CandidateRow) -> Outcome:
    measurements = session.scalars(select(MeasurementRow).where(MeasurementRow.candidate_id == row.id))
    by_split = {measurement.split: measurement for measurement in measurements}
    sha256 = session.scalar(select(ArtifactRow.sha256).where(ArtifactRow.candidate_id == row.id))
    return outcome_of(row, sha256, search_measurement(by_split), other_devices_of(session, row.id))
