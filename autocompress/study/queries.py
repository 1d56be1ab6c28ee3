"""Queries for the rows of a study, within a session of the caller's; needs neither Optuna nor torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from autocompress.core.agreement import AGREEMENT
from autocompress.core.composed_speedup import teacher_latency_ms
from autocompress.core.json_types import Json
from autocompress.core.trial_row import TrialRow
from autocompress.selection import Reference
from autocompress.study.agreement_mapping import agreement_of
from autocompress.study.row_mapping import (
    TeacherRecord,
    outcome_of,
    quality_of,
    recipe_of,
    teacher_record,
    trial_row,
)
from autocompress.study.tables import (
    ArtifactRow,
    CandidateRow,
    MeasurementRow,
    OtherDeviceRow,
    StudyRow,
    TeacherRow,
    optuna_studies,
)

DeviceRow = MeasurementRow | OtherDeviceRow


def study_names(session: Session) -> list[str]:
    """Return the names of the studies, in the order in which they were created."""
    is_ours = StudyRow.study_id == optuna_studies.c.study_id
    query = select(optuna_studies.c.study_name).join(StudyRow, is_ours).order_by(StudyRow.id)
    return list(session.scalars(query))


def find_study(session: Session, name: str) -> StudyRow | None:
    """Return the row of the study of that name; null where there is none."""
    ids = select(optuna_studies.c.study_id).where(optuna_studies.c.study_name == name)
    return session.scalars(select(StudyRow).where(StudyRow.study_id.in_(ids))).one_or_none()


def read_rows(session: Session, study: StudyRow, *numbers: int, device: str | None = None) -> list[TrialRow]:
    """Return the trials of a study (only those of `numbers`, where any are named), by number; `on_front` is left false.

    Trials of the same artifact share its comparison on the agreement rows.
    `device`: a secondary device whose measurements the rows show; null: the device that drives the search.
    """
    teacher = read_teacher(session, study, device)
    query = (
        select(CandidateRow, ArtifactRow.sha256)
        .outerjoin(ArtifactRow, ArtifactRow.candidate_id == CandidateRow.id)
        .where(CandidateRow.ac_study_id == study.id)
        .order_by(CandidateRow.number)
    )
    if numbers:
        query = query.where(CandidateRow.number.in_(numbers))
    measured = _read_measurements(session, study, numbers, device)
    rows = [
        _to_trial_row(candidate, sha256, measured.get(candidate.id, {}), teacher)
        for candidate, sha256 in session.execute(query)
    ]
    compared = {row.sha256: row.agreement for row in rows if row.sha256 is not None and row.agreement is not None}
    return [replace(row, agreement=row.agreement or compared.get(row.sha256 or "")) for row in rows]


def read_teacher(session: Session, study: StudyRow, device: str | None = None) -> TeacherRecord | None:
    """Return the teacher, null before it is measured; as measured on a secondary device where `device` names one."""
    if device is not None:
        return _read_teacher_on(session, study, device)
    row = session.scalars(select(TeacherRow).where(TeacherRow.ac_study_id == study.id)).one_or_none()
    return None if row is None else teacher_record(row)


def read_reference(study: StudyRow) -> Reference | None:
    """Return the reference point of the hypervolume; null before the teacher is measured."""
    points, latency, size = study.reference_drop_points, study.reference_latency_ms, study.reference_size_mb
    if points is None or latency is None or size is None:
        return None
    return Reference(drop_points=points, latency_ms=latency, size_mb=size)


def read_conditions(session: Session, ac_study_id: int, number: int) -> Json:
    """Return the conditions that a trial was measured under; empty where it was not measured."""
    query = (
        select(MeasurementRow.conditions)
        .join(CandidateRow)
        .where(
            CandidateRow.ac_study_id == ac_study_id,
            CandidateRow.number == number,
            MeasurementRow.split.in_(("validation", "price")),
        )
    )
    return dict(session.scalars(query).first() or {})


def read_facts(session: Session, ac_study_id: int, number: int) -> Json:
    """Return the facts of a trial; empty where there is no such trial."""
    query = select(CandidateRow.facts).where(CandidateRow.ac_study_id == ac_study_id, CandidateRow.number == number)
    return dict(session.scalars(query).first() or {})


def read_end_times(session: Session, ac_study_id: int) -> dict[int, float]:
    """Return the seconds of the study when each complete trial ended, by trial."""
    query = select(CandidateRow.number, CandidateRow.facts).filter_by(ac_study_id=ac_study_id, state="complete")
    return {number: float(facts.get("ended_at", 0.0)) for number, facts in session.execute(query)}


def device_names(plan: Json) -> tuple[str, ...]:
    """Return the names of a stored plan's devices, first the one that drives the search: a database may sort them."""
    devices = plan.get("devices") or {}
    return tuple(sorted(devices, key=lambda name: devices[name] != plan["device"]))


def other_devices_of(session: Session, candidate_id: int) -> dict[str, OtherDeviceRow]:
    """Return the measurements of a trial on secondary devices, by device; without those on the test split."""
    query = select(OtherDeviceRow).where(OtherDeviceRow.candidate_id == candidate_id, OtherDeviceRow.split != "test")
    return {row.device: row for row in session.scalars(query)}


def search_measurement(rows: Mapping[str, DeviceRow]) -> DeviceRow | None:
    """Return, of a trial's measurements by split, the one that the search made; null where it made none."""
    return rows.get("validation") or rows.get("price")


def _read_teacher_on(session: Session, study: StudyRow, device: str) -> TeacherRecord | None:
    query = (
        select(OtherDeviceRow, ArtifactRow.sha256)
        .join(CandidateRow, CandidateRow.id == OtherDeviceRow.candidate_id)
        .outerjoin(ArtifactRow, ArtifactRow.candidate_id == CandidateRow.id)
        .where(CandidateRow.ac_study_id == study.id, CandidateRow.number == 0, OtherDeviceRow.device == device)
        .where(OtherDeviceRow.split == "validation")
    )
    measured = session.execute(query).one_or_none()
    if measured is None:
        return None
    row, sha256 = measured
    if row.p50_ms is None or row.size_mb is None:
        return None
    return TeacherRecord(
        sha256=row.sha256 or sha256,
        latency_ms=teacher_latency_ms(row.p50_ms, row.reference_p50_ms or row.p50_ms, row.conditions),
        size_mb=row.size_mb,
        quality=row.quality,
        examples=row.examples,
    )


def _read_measurements(
    session: Session, study: StudyRow, numbers: Sequence[int], device: str | None
) -> Mapping[int, Mapping[str, DeviceRow]]:
    """Return candidate id -> split -> measurement; only of the trials of `numbers`, where any are named."""
    table: type[MeasurementRow] | type[OtherDeviceRow] = MeasurementRow if device is None else OtherDeviceRow
    query = select(table).join(CandidateRow, CandidateRow.id == table.candidate_id)
    query = query.where(CandidateRow.ac_study_id == study.id)
    if numbers:
        query = query.where(CandidateRow.number.in_(numbers))
    if device is not None:
        query = query.where(OtherDeviceRow.device == device)
    by_candidate: dict[int, dict[str, DeviceRow]] = {}
    rows: Iterable[DeviceRow] = session.scalars(query)
    for row in rows:
        by_candidate.setdefault(row.candidate_id, {})[row.split] = row
    return by_candidate


def _to_trial_row(
    candidate: CandidateRow, sha256: str | None, by_split: Mapping[str, DeviceRow], teacher: TeacherRecord | None
) -> TrialRow:
    measured = search_measurement(by_split)
    outcome = outcome_of(candidate, getattr(measured, "sha256", None) or sha256, measured)
    test = quality_of(by_split["test"]) if "test" in by_split else None
    row = trial_row(candidate.number, recipe_of(candidate.recipe), outcome, teacher, test)
    heads, neurons = (tuple(candidate.facts.get(name, ())) or None for name in ("heads", "neurons"))
    agreement = agreement_of(by_split[AGREEMENT]) if AGREEMENT in by_split else None
    return replace(row, rung=candidate.rung, heads=heads, neurons=neurons, agreement=agreement)
