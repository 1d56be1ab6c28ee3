"""Compose all speedups of a study from the same ratio of teacher to timing reference: the one of the most measurements.

Each new measurement of the teacher makes this ratio more precise. Speedups of finished trials then change by one common factor,
and their latencies not at all, so that trials stay comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from autocompress.core.composed_speedup import KEY, ComposedSpeedup, TeacherRatio, teacher_latency_ms
from autocompress.study.queries import DeviceRow
from autocompress.study.tables import CandidateRow, MeasurementRow, OtherDeviceRow, StudyRow, TeacherRow


def share_teacher_ratio(session: Session, study: StudyRow, number: int, device: str | None = None) -> None:
    """Apply the best known teacher ratio to all trials on a device, after trial `number` was recorded.

    `device`: a secondary device; null: the device that drives the search.
    """
    session.flush()
    if len({_ratio(row) for row in _measured(session, study, device, (0, number))}) < 2:
        return
    rows = _measured(session, study, device)
    best: dict[str, TeacherRatio] = {}  # by series
    for ratio in filter(None, map(_ratio, rows)):
        if ratio.series not in best or ratio.measurements > best[ratio.series].measurements:
            best[ratio.series] = ratio
    for row in rows:
        composed = ComposedSpeedup.from_conditions(row.conditions)
        if composed is not None and composed.teacher != best[composed.teacher.series]:
            _apply(row, replace(composed, teacher=best[composed.teacher.series]))
    teacher = session.scalars(select(TeacherRow).where(TeacherRow.ac_study_id == study.id)).one_or_none()
    first = next(iter(_measured(session, study, device, (0,))), None)
    if device is None and teacher is not None and first is not None and first.p50_ms and first.reference_p50_ms:
        teacher.latency_ms = teacher_latency_ms(first.p50_ms, first.reference_p50_ms, first.conditions)


def _measured(
    session: Session, study: StudyRow, device: str | None, numbers: Sequence[int] = ()
) -> Sequence[DeviceRow]:
    """Return the measurements of a study's trials on a device by the search; only of some trials where numbers are given."""
    table: type[MeasurementRow] | type[OtherDeviceRow] = MeasurementRow if device is None else OtherDeviceRow
    query = select(table).join(CandidateRow, CandidateRow.id == table.candidate_id)
    query = query.where(CandidateRow.ac_study_id == study.id, table.split.in_(("validation", "price")))
    if numbers:
        query = query.where(CandidateRow.number.in_(numbers))
    if device is not None:
        query = query.where(OtherDeviceRow.device == device)
    return list(session.scalars(query))


def _ratio(row: DeviceRow) -> TeacherRatio | None:
    composed = ComposedSpeedup.from_conditions(row.conditions)
    return None if composed is None else composed.teacher


def _apply(row: DeviceRow, composed: ComposedSpeedup) -> None:
    speedup = composed.speedup
    row.speedup, row.speedup_low, row.speedup_high = speedup.value, speedup.interval.low, speedup.interval.high
    row.conditions = {**(row.conditions or {}), KEY: composed.as_json()}
