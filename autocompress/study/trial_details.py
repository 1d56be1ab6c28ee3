"""All that is known of one trial: its outcome with measurement, conditions and facts, and its quality on the test split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from autocompress.core.errors import UsageError
from autocompress.core.measurement import Quality
from autocompress.core.trial_row import Outcome
from autocompress.study.connections import reading_engine
from autocompress.study.queries import device_names, ends_of, find_study, other_devices_of, own_measurement, read_study
from autocompress.study.row_mapping import outcome_of, quality_of
from autocompress.study.tables import ArtifactRow, CandidateRow, MeasurementColumns, MeasurementRow, OtherDeviceRow


@dataclass(frozen=True, kw_only=True)
class TrialDetails:
    """One trial as it was told, which the row of results is made from."""

    outcome: Outcome
    test: Quality | None


def read_trial_details(url: str, name: str, trial: int, device: str | None = None) -> TrialDetails:
    """The details of a trial of a study, as seen on the device that drives the search unless another is named.

    UsageError where there is no such study or trial.
    """
    engine = reading_engine(url)
    with Session(engine) as session:
        study = find_study(session, name)
        mine = select(CandidateRow).where(CandidateRow.number == trial)
        candidate = session.scalars(mine.filter_by(ac_study_id=study.id)).one_or_none() if study else None
        if study is None or candidate is None:
            raise UsageError(f"study {name}: no trial {trial}")
        query = select(MeasurementRow).where(MeasurementRow.candidate_id == candidate.id)
        seen = {row.split: row for row in session.scalars(query)}
        sha256 = session.scalars(
            select(ArtifactRow.sha256).where(ArtifactRow.candidate_id == candidate.id)
        ).one_or_none()
        outcome = outcome_of(candidate, sha256, own_measurement(seen), other_devices_of(session, candidate.id))
        test: MeasurementColumns | None = seen.get("test")
        names = device_names(study.plan)
        if device in names[1:]:
            outcome = _seen_from(outcome, device, names[0])
            further = select(OtherDeviceRow).filter_by(candidate_id=candidate.id, device=device, split="test")
            test = session.scalars(further).one_or_none()
        details = TrialDetails(outcome=outcome, test=quality_of(test) if test else None)
    engine.dispose()
    return details


def read_ends(url: str, name: str) -> dict[int, float]:
    """Seconds of the study when each complete trial ended."""
    engine = reading_engine(url)
    with Session(engine) as session:
        study = find_study(session, name)
        found = ends_of(session, study.id) if study else {}
    engine.dispose()
    return found


def read_artifacts(url: str, name: str, trial: int) -> dict[str, str]:
    """What a trial runs as: the sha256 of its artifact for each runtime of the study's devices."""
    outcome, plan = read_trial_details(url, name, trial).outcome, read_study(url, name).plan
    if outcome.sha256 is None:
        return {}
    found = {plan["device"]["runtime"]: outcome.sha256}
    for device, seen in outcome.other_devices.items():
        found[plan["devices"][device]["runtime"]] = seen.sha256 or outcome.sha256
    return found


def read_conditions_of_artifacts(url: str, name: str) -> dict[str, list[dict[str, Any]]]:
    """For the sha256 of each artifact of a study the conditions that it was measured under, on all devices."""
    engine = reading_engine(url)
    found: dict[str, list[dict[str, Any]]] = {}
    with Session(engine) as session:
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
                found.setdefault(artifact, []).append(dict(conditions or {}))
    engine.dispose()
    return found


def _seen_from(outcome: Outcome, device: str, first: str) -> Outcome:
    """The outcome with a further device's measurement as its own, and the first device's among the others."""
    others = {first: outcome.measurement, **outcome.other_devices}
    own = others.pop(device, None)
    told = {name: seen for name, seen in others.items() if seen is not None}
    return replace(outcome, measurement=own, other_devices=told, sha256=(own.sha256 if own else None) or outcome.sha256)
