"""A study as it was at one moment, read without Optuna and torch, so that `front`, `trials` and `pick` answer at once.

Reading never writes and never creates anything, also while a search writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from autocompress.core.errors import UsageError, unknown
from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.core.formatting import counted, drop_text
from autocompress.core.json_types import Json
from autocompress.core.teacher_warning import TeacherWarning, describe_remedy
from autocompress.core.trial_row import TrialRow
from autocompress.selection import WORST, Reference, beating_trials, combine_worst, expected_drop, find_ties, on_front
from autocompress.study.connections import parse_url, shown, sqlite_path
from autocompress.study.queries import (
    device_names,
    find_study,
    read_facts,
    read_reference,
    read_rows,
    read_teacher,
    study_names,
)
from autocompress.study.reading_session import reading_session
from autocompress.study.tables import STALE_SECONDS, StudyRow

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """A study as it was at one moment."""

    name: str
    rows: tuple[TrialRow, ...]  # every trial that was begun, by number; the teacher is trial 0; on_front is set
    teacher: TrialRow | None
    objectives: tuple[str, ...]
    constraints: dict[str, float]  # those in force that are set
    seconds: float
    reference: Reference | None  # of the hypervolume; null before the teacher is measured
    examples: int | None  # rows of the validation split
    plan: Json  # as written in the study file, without storage and folders
    recovery: Json | None  # as fitted to the time budget; null: as in the study file
    artifacts: Path | None  # the artifacts' folder, where the database is a file
    running: bool  # a supervisor is alive
    devices: tuple[str, ...] = ()  # their names, where the study has several; the first drives the search
    device: str | None = None  # whose measurements the rows show
    fine_tuning: FineTuningRecord | None = None  # of the teacher
    warnings: tuple[TeacherWarning, ...] = ()  # what is wrong with the teacher

    @property
    def front(self) -> tuple[TrialRow, ...]:
        """Return the rows on the front."""
        return tuple(row for row in self.rows if row.on_front)

    def row(self, trial: int) -> TrialRow:
        """Return the row of a trial; UsageError, with the available numbers, where there is none."""
        for row in self.rows:
            if row.trial == trial:
                return row
        available = f"available: 0 to {self.rows[-1].trial}" if self.rows else "none was begun yet"
        raise UsageError(f"study {self.name}: no trial {trial}; {available}")


def read_study(url: str, name: str, device: str | None = None) -> StudyView:
    """Read a study and all its rows, of the device that drives the search unless `device` names another.

    `device="all"` combines all devices: each trial with the numbers of its worst device. UsageError, with the available
    names, for an unknown database, study or device.
    """
    with reading_session(url) as session:
        study = find_study(session, name)
        if study is None:
            available = ", ".join(study_names(session)) or "none"
            raise UsageError(f"storage: no study {name!r} in {shown(url)}; available: {available}")
        return _build_view(session, study, name, url, device)


def studies(url: str) -> list[str]:
    """Return the names of the studies in a database, in the order in which they were created."""
    with reading_session(url) as session:
        return study_names(session)


def stored_plan(url: str, name: str) -> Json | None:
    """Return the plan that a study was begun with; null where the study or its database does not exist or is unreadable."""
    try:
        return read_study(url, name).plan
    except UsageError as error:
        log.debug("study %s: no stored plan: %s", name, error)
        return None


def artifact_folders(url: str) -> list[Path]:
    """Return the artifacts' folders of the studies of a database that exist on this machine."""
    with reading_session(url) as session:
        folders = [_artifacts_folder(study, url) for study in session.scalars(select(StudyRow))]
    return [folder for folder in folders if folder is not None and folder.is_dir()]


def mark_front(
    rows: Sequence[TrialRow], objectives: Sequence[str], constraints: Mapping[str, float | None]
) -> tuple[TrialRow, ...]:
    """Return the rows with `on_front` set."""
    members = on_front(rows, objectives, constraints)
    return tuple(replace(row, on_front=row.trial in members) for row in rows)


def _build_view(session: Session, study: StudyRow, name: str, url: str, device: str | None) -> StudyView:
    objectives = tuple(study.plan["objectives"])
    names = device_names(study.plan)
    running = study.beat is not None and study.owner is not None and time.time() - study.beat < STALE_SECONDS
    rows = _mark_ties(mark_front(_device_rows(session, study, name, device), objectives, study.constraints))
    if not running:
        rows = tuple(_mark_orphaned(row) for row in rows)
    teacher, reference = read_teacher(session, study, device if device in names[1:] else None), read_reference(study)
    if reference is not None and teacher is not None and device in names[1:]:
        reference = replace(reference, latency_ms=teacher.latency_ms)
    rows = _add_expected_drops(rows, teacher.examples if teacher else None)
    facts = read_facts(session, study.id, 0)
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
        artifacts=_artifacts_folder(study, url),
        running=running,
        devices=names,
        device=device or (names[0] if names else None),
        fine_tuning=FineTuningRecord.from_facts(facts),
        warnings=(*TeacherWarning.from_facts(facts), *_beaten(name, rows, study.plan)),
    )


def _beaten(study: str, rows: Sequence[TrialRow], plan: Json) -> list[TeacherWarning]:
    """Return a warning where candidates are significantly better than the teacher."""
    better = beating_trials(rows)
    if not better:
        return []
    best = better[0]
    finding = (
        f"{counted(len(better), 'trial')} beat the teacher significantly, trial {best.trial} by"
        f" {drop_text(-(best.drop or 0.0), _negative(best.drop_interval))} points: the teacher was not fine-tuned well enough"
    )
    remedy, minutes = describe_remedy(study, plan["teacher"].get("fine_tune"))
    return [TeacherWarning(finding=finding, remedy=remedy, minutes=minutes)]


def _negative(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (-interval[1], -interval[0])


def _device_rows(session: Session, study: StudyRow, name: str, device: str | None) -> list[TrialRow]:
    """Return the rows of one device, or of the worst of all; UsageError for a device that the study does not have."""
    names = device_names(study.plan)
    available = [*names, WORST] if names else []
    if device is not None and device not in available:
        raise unknown("device", device, available, f"study {name}")
    if device == WORST:
        return combine_worst([read_rows(session, study, device=secondary) for secondary in (None, *names[1:])])
    rows = read_rows(session, study, device=device if device in names[1:] else None)
    return [replace(row, device=device or names[0]) for row in rows] if names else rows


def _mark_ties(rows: Sequence[TrialRow]) -> tuple[TrialRow, ...]:
    ties = find_ties([row for row in rows if row.on_front])
    return tuple(replace(row, ties=ties.get(row.trial, ())) for row in rows)


def _mark_orphaned(row: TrialRow) -> TrialRow:
    """Set the reason of a running trial whose search has ended."""
    return replace(row, reason="interrupted; the next search tries it again") if row.state == "running" else row


def _add_expected_drops(rows: Sequence[TrialRow], examples: int | None) -> tuple[TrialRow, ...]:
    estimates = expected_drop(rows, examples)

    def add_estimate(row: TrialRow) -> TrialRow:
        if row.trial not in estimates:
            return row
        drop, half = estimates[row.trial].drop, 1.96 * estimates[row.trial].spread
        return replace(row, expected_drop=drop, expected_drop_interval=(drop - half, drop + half))

    return tuple(add_estimate(row) for row in rows)


def _artifacts_folder(study: StudyRow, url: str) -> Path | None:
    path = sqlite_path(parse_url(url))
    return None if path is None or study.artifacts is None else (path.absolute().parent / study.artifacts).resolve()
