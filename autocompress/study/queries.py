"""Reading a study: needs neither Optuna nor torch, so that `front`, `trials` and `pick` answer at once.

It never writes and never creates anything, and reads one consistent moment also while a search writes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from autocompress.core.errors import AutocompressError, UsageError, unknown
from autocompress.core.measurement import Quality, TrialRow
from autocompress.selection import WORST, Reference, combine_worst, expected_drop, find_ties, on_front
from autocompress.study.connections import parse_url, reading_engine, shown, sqlite_path
from autocompress.study.row_mapping import TeacherRecord, outcome_of, quality_of, recipe_of, result_of, teacher_record
from autocompress.study.tables import (
    ArtifactRow,
    CandidateRow,
    MeasurementRow,
    OtherDeviceRow,
    StudyRow,
    TeacherRow,
    optuna_studies,
)

Row = MeasurementRow | OtherDeviceRow
STALE_SECONDS = 20.0  # without a beat, a supervisor is taken for dead


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """A study as it was at one moment."""

    name: str
    rows: tuple[TrialRow, ...]  # every trial that was begun, by number; the teacher is trial 0; on_front is set
    teacher: TrialRow | None
    objectives: tuple[str, ...]
    constraints: dict[str, float]  # those in force and set
    seconds: float
    reference: Reference | None  # corner of the hypervolume; null before the teacher is measured
    examples: int | None  # rows of the validation split
    plan: dict[str, Any]  # as written in the study file, without storage and folders
    recovery: dict[str, Any] | None  # as fitted to the time budget; null: as in the study file
    artifacts: Path | None  # the artifacts' folder, where the database is a file
    running: bool  # a supervisor is alive
    devices: tuple[str, ...] = ()  # their names, where the study has several; the first drives the search
    device: str | None = None  # that the rows are of

    @property
    def front(self) -> tuple[TrialRow, ...]:
        """The rows on the front."""
        return tuple(row for row in self.rows if row.on_front)

    def row(self, trial: int) -> TrialRow:
        """The row of a trial; an unknown number is an error that says which there are."""
        for row in self.rows:
            if row.trial == trial:
                return row
        there = f"available: 0 to {self.rows[-1].trial}" if self.rows else "none was begun yet"
        raise UsageError(f"study {self.name}: no trial {trial}; {there}")


def read_study(url: str, name: str, device: str | None = None) -> StudyView:
    """A study and all its rows, of the device that drives the search unless another is named; `all`: the worst of each.

    Errors name the databases, studies and devices that there are.
    """
    engine = reading_engine(url)
    with _reading(engine, url) as session:
        study = find_study(session, name)
        if study is None:
            known = ", ".join(_names(session)) or "none"
            raise UsageError(f"storage: no study {name!r} in {shown(url)}; available: {known}")
        return _view(session, study, name, url, device)


def studies(url: str) -> list[str]:
    """Names of the studies in a database, in the order in which they were created."""
    with _reading(reading_engine(url), url) as session:
        return _names(session)


def stored_plan(url: str, name: str) -> dict[str, Any] | None:
    """The plan that a study was begun with; null where it is not begun, or there is no database yet."""
    try:
        return read_study(url, name).plan
    except UsageError:
        return None


def artifact_folders(url: str) -> list[Path]:
    """Where the studies of a database keep their models; those that are on this machine."""
    with _reading(reading_engine(url), url) as session:
        found = [_artifacts(study, url) for study in session.scalars(select(StudyRow))]
    return [folder for folder in found if folder is not None and folder.is_dir()]


def find_study(session: Session, name: str) -> StudyRow | None:
    """The row of the study of that name."""
    named = select(optuna_studies.c.study_id).where(optuna_studies.c.study_name == name)
    return session.scalars(select(StudyRow).where(StudyRow.study_id.in_(named))).one_or_none()


def read_rows(session: Session, study: StudyRow, *numbers: int, device: str | None = None) -> list[TrialRow]:
    """The trials of a study (those of these numbers, where any are given), by number; on_front is left false.

    `device`: a further one.
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
    seen = _measurements(session, study, numbers, device)
    return [_row(trial, sha256, seen.get(trial.id, {}), teacher) for trial, sha256 in session.execute(query)]


def read_teacher(session: Session, study: StudyRow, device: str | None = None) -> TeacherRecord | None:
    """The teacher, once it is measured; on a further device, where one is named."""
    if device is not None:
        return _teacher_on(session, study, device)
    row = session.scalars(select(TeacherRow).where(TeacherRow.ac_study_id == study.id)).one_or_none()
    return None if row is None else teacher_record(row)


def read_conditions(session: Session, ac_study_id: int, number: int) -> dict[str, Any]:
    """The conditions that a trial was measured under; empty where it was not."""
    query = (
        select(MeasurementRow.conditions)
        .join(CandidateRow)
        .where(CandidateRow.ac_study_id == ac_study_id, CandidateRow.number == number, MeasurementRow.split != "test")
    )
    return dict(session.scalars(query).first() or {})


def ends_of(session: Session, ac_id: int) -> dict[int, float]:
    """Seconds of the study when each complete trial ended."""
    query = select(CandidateRow.number, CandidateRow.facts).filter_by(ac_study_id=ac_id, state="complete")
    return {number: float(facts.get("ended_at", 0.0)) for number, facts in session.execute(query)}


def own_measurement(rows: Mapping[str, Row]) -> Row | None:
    """Of a trial's measurements by split, the one it was told with."""
    return rows.get("validation") or rows.get("price")


def flagged(
    rows: Sequence[TrialRow], objectives: Sequence[str], constraints: Mapping[str, float | None]
) -> tuple[TrialRow, ...]:
    """The rows with on_front set."""
    members = on_front(rows, objectives, constraints)
    return tuple(replace(row, on_front=row.trial in members) for row in rows)


class _reading:  # noqa: N801  # reads as a verb at its use
    """A session that reads, whose errors are one sentence."""

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine, self._url = engine, url

    def __enter__(self) -> Session:
        self._session = Session(self._engine)
        return self._session

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._session.close()
        self._engine.dispose()
        if isinstance(error, (ProgrammingError, OperationalError)) and _no_table(error):
            raise UsageError(f"storage: there is no study in {shown(self._url)}; a search creates one") from None
        if isinstance(error, DBAPIError) and _no_column(error):
            raise AutocompressError(
                f"storage: {shown(self._url)} was written by an older autocompress; `search` brings it up to date"
            ) from None
        if isinstance(error, DBAPIError):
            reason = str(error.orig).strip().partition("\n")[0]
            raise AutocompressError(f"storage: {shown(self._url)} cannot be read: {reason}") from None


def _no_table(error: DBAPIError) -> bool:
    text = str(error.orig)
    return "no such table" in text or ("does not exist" in text and "relation" in text)


def _no_column(error: DBAPIError) -> bool:
    text = str(error.orig)
    return "no such column" in text or ("does not exist" in text and "column" in text)


def _names(session: Session) -> list[str]:
    ours = StudyRow.study_id == optuna_studies.c.study_id
    query = select(optuna_studies.c.study_name).join(StudyRow, ours).order_by(StudyRow.id)
    return list(session.scalars(query))


def _view(session: Session, study: StudyRow, name: str, url: str, device: str | None) -> StudyView:
    objectives = tuple(study.plan["objectives"])
    names, reference = device_names(study.plan), read_reference(study)
    if device not in (None, *names, *([WORST] if names else [])):
        raise unknown("device", device, [*names, WORST] if names else [], f"study {name}")
    read = [read_rows(session, study, device=further) for further in (None, *names[1:])] if device == WORST else []
    further = device if device in names[1:] else None
    found = combine_worst(read) if read else read_rows(session, study, device=further)
    if names and not read:
        found = [replace(row, device=device or names[0]) for row in found]
    rows = flagged(found, objectives, study.constraints)
    alike = find_ties([row for row in rows if row.on_front])
    rows = tuple(replace(row, ties=alike.get(row.trial, ())) for row in rows)
    running = study.beat is not None and study.owner is not None and time.time() - study.beat < STALE_SECONDS
    if not running:
        rows = tuple(_orphaned(row) for row in rows)
    teacher = read_teacher(session, study, further)
    if reference is not None and teacher is not None:
        reference = replace(reference, latency_ms=teacher.latency_ms)
    rows = _with_expectations(rows, teacher.examples if teacher else None)
    return StudyView(
        name=name,
        rows=rows,
        teacher=next((row for row in rows if row.trial == 0 and row.state == "complete"), None),
        objectives=objectives,
        constraints={key: value for key, value in study.constraints.items() if value is not None},
        seconds=study.seconds,
        reference=reference,
        examples=teacher.examples if teacher else None,
        plan=study.plan,
        recovery=study.recovery,
        artifacts=_artifacts(study, url),
        running=running,
        devices=names,
        device=device or (names[0] if names else None),
    )


def _with_expectations(rows: Sequence[TrialRow], examples: int | None) -> tuple[TrialRow, ...]:
    found = expected_drop(rows, examples)

    def completed(row: TrialRow) -> TrialRow:
        if row.trial not in found:
            return row
        drop, half = found[row.trial].drop, 1.96 * found[row.trial].spread
        return replace(row, expected_drop=drop, expected_drop_interval=(drop - half, drop + half))

    return tuple(completed(row) for row in rows)


def read_reference(study: StudyRow) -> Reference | None:
    """The corner of the hypervolume, once the teacher is measured."""
    points, latency, size = study.reference_drop_points, study.reference_latency_ms, study.reference_size_mb
    if points is None or latency is None or size is None:
        return None
    return Reference(drop_points=points, latency_ms=latency, size_mb=size)


def _artifacts(study: StudyRow, url: str) -> Path | None:
    path = sqlite_path(parse_url(url))
    return None if path is None or study.artifacts is None else (path.absolute().parent / study.artifacts).resolve()


def _orphaned(row: TrialRow) -> TrialRow:
    """A trial that still runs on paper, although nobody is searching."""
    return replace(row, reason="interrupted; the next search tries it again") if row.state == "running" else row


def device_names(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a stored plan's devices, the one that drives the search first: a database may sort them."""
    devices = plan.get("devices") or {}
    return tuple(sorted(devices, key=lambda name: devices[name] != plan["device"]))


def other_devices_of(session: Session, candidate_id: int) -> dict[str, OtherDeviceRow]:
    """What a trial was told with, on further devices, by their names."""
    query = select(OtherDeviceRow).where(OtherDeviceRow.candidate_id == candidate_id, OtherDeviceRow.split != "test")
    return {row.device: row for row in session.scalars(query)}


def _teacher_on(session: Session, study: StudyRow, device: str) -> TeacherRecord | None:
    query = (
        select(OtherDeviceRow, ArtifactRow.sha256)
        .join(CandidateRow, CandidateRow.id == OtherDeviceRow.candidate_id)
        .outerjoin(ArtifactRow, ArtifactRow.candidate_id == CandidateRow.id)
        .where(CandidateRow.ac_study_id == study.id, CandidateRow.number == 0, OtherDeviceRow.device == device)
        .where(OtherDeviceRow.split == "validation")
    )
    found = session.execute(query).one_or_none()
    if found is None:
        return None
    row, sha256 = found
    if row.p50_ms is None or row.size_mb is None:
        return None
    return TeacherRecord(
        sha256=row.sha256 or sha256,
        latency_ms=row.p50_ms,
        size_mb=row.size_mb,
        quality=row.quality,
        examples=row.examples,
    )


def _measurements(
    session: Session, study: StudyRow, numbers: Sequence[int], device: str | None
) -> Mapping[int, Mapping[str, Row]]:
    """candidate id -> split -> measurement; of the trials of these numbers, where any are given."""
    table: type[MeasurementRow] | type[OtherDeviceRow] = MeasurementRow if device is None else OtherDeviceRow
    query = select(table).join(CandidateRow, CandidateRow.id == table.candidate_id)
    query = query.where(CandidateRow.ac_study_id == study.id)
    if numbers:
        query = query.where(CandidateRow.number.in_(numbers))
    if device is not None:
        query = query.where(OtherDeviceRow.device == device)
    found: dict[int, dict[str, Row]] = {}
    for row in cast("list[Row]", list(session.scalars(query))):
        found.setdefault(row.candidate_id, {})[row.split] = row
    return found


def _row(
    candidate: CandidateRow, sha256: str | None, seen: Mapping[str, Row], teacher: TeacherRecord | None
) -> TrialRow:
    own = own_measurement(seen)
    outcome = outcome_of(candidate, getattr(own, "sha256", None) or sha256, own)
    test: Quality | None = quality_of(seen["test"]) if "test" in seen else None
    row = result_of(candidate.number, recipe_of(candidate.recipe), outcome, teacher, test)
    heads, neurons = (tuple(candidate.facts.get(name, ())) or None for name in ("heads", "neurons"))
    return replace(row, rung=candidate.rung, heads=heads, neurons=neurons)
