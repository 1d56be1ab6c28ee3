"""Details of one trial beyond its row: the outcome with measurement, conditions and facts, and its test quality."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import func, select

from autocompress.core.errors import UsageError
from autocompress.core.json_types import Json
from autocompress.core.measurement import Quality
from autocompress.core.trial_row import Outcome
from autocompress.study.queries import (
    device_names,
    find_study,
    other_devices_of,
    read_end_times,
    search_measurement,
)
from autocompress.study.reading_session import reading_session
from autocompress.study.row_mapping import outcome_of, quality_of
from autocompress.study.study_view import read_study
from autocompress.study.tables import ArtifactRow, CandidateRow, MeasurementColumns, MeasurementRow, OtherDeviceRow


@dataclass(frozen=True, kw_only=True)
class TrialDetails:
    """The outcome of one trial, as the search recorded it, and its quality on the test split."""

    outcome: Outcome
    test: Quality | None


def read_trial_details(url: str, name: str, trial: int, device: str | None = None) -> TrialDetails:
    """Read the details of a trial, as measured on the device that drives the search unless `device` names another.

    UsageError where there is no such study or trial.
    """
    with reading_session(url) as session:
        study = find_study(session, name)
        of_number = select(CandidateRow).where(CandidateRow.number == trial)
        candidate = session.scalars(of_number.filter_by(ac_study_id=study.id)).one_or_none() if study else None
        if study is None or candidate is None:
            raise UsageError(f"study {name}: no trial {trial}")
        query = select(MeasurementRow).where(MeasurementRow.candidate_id == candidate.id)
        by_split = {row.split: row for row in session.scalars(query)}
        sha256 = session.scalars(select(ArtifactRow.sha256).filter_by(candidate_id=candidate.id)).one_or_none()
        other_devices = other_devices_of(session, candidate.id)
        outcome = outcome_of(candidate, sha256, search_measurement(by_split), other_devices)
        test: MeasurementColumns | None = by_split.get("test")
        names = device_names(study.plan)
        if device in names[1:]:
            outcome = _as_measured_on(outcome, device, names[0])
            on_device = select(OtherDeviceRow).filter_by(candidate_id=candidate.id, device=device, split="test")
            test = session.scalars(on_device).one_or_none()
        return TrialDetails(outcome=outcome, test=quality_of(test) if test else None)


def read_ends(url: str, name: str) -> dict[int, float]:
    """Return the seconds of the study when each complete trial ended, by trial."""
    with reading_session(url) as session:
        study = find_study(session, name)
        return read_end_times(session, study.id) if study else {}


def read_artifacts(url: str, name: str, trial: int) -> dict[str, str]:
    """Return the sha256 of a trial's artifact for each runtime of the study's devices; empty where it has none."""
    outcome, plan = read_trial_details(url, name, trial).outcome, read_study(url, name).plan
    if outcome.sha256 is None:
        return {}
    by_runtime = {plan["device"]["runtime"]: outcome.sha256}
    for device, measurement in outcome.other_devices.items():
        by_runtime[plan["devices"][device]["runtime"]] = measurement.sha256 or outcome.sha256
    return by_runtime


def read_conditions_of_artifacts(url: str, name: str) -> dict[str, list[Json]]:
    """Return for the sha256 of each artifact of a study the conditions that it was measured under, on all devices."""
    by_artifact: dict[str, list[Json]] = {}
    with reading_session(url) as session:
        study = find_study(session, name)
        for table in (MeasurementRow, OtherDeviceRow):
            sha256 = (
                ArtifactRow.sha256
                if table is MeasurementRow
                else func.coalesce(OtherDeviceRow.sha256, ArtifactRow.sha256)
            )
            query = (
                select(sha256, table.conditions)
                .join(CandidateRow, CandidateRow.id == table.candidate_id)
                .join(ArtifactRow, ArtifactRow.candidate_id == CandidateRow.id)
                .where(CandidateRow.ac_study_id == (study.id if study else None), table.split == "validation")
            )
            for artifact, conditions in session.execute(query):
                by_artifact.setdefault(artifact, []).append(dict(conditions or {}))
    return by_artifact


def _as_measured_on(outcome: Outcome, device: str, first_device: str) -> Outcome:
    """Return the outcome with a secondary device's measurement as the main one, and the first device's among the others."""
    measurements = {first_device: outcome.measurement, **outcome.other_devices}
    main = measurements.pop(device, None)
    other_devices = {name: measurement for name, measurement in measurements.items() if measurement is not None}
    sha256 = (main.sha256 if main else None) or outcome.sha256
    return replace(outcome, measurement=main, other_devices=other_devices, sha256=sha256)
