"""All that is known of one trial: its outcome with measurement, conditions and facts, and its quality on the test split."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from autocompress.errors import UsageError
from autocompress.measurement import Outcome, Quality
from autocompress.study.databases import reading_engine
from autocompress.study.reader import elsewhere_of, find_study, own_measurement
from autocompress.study.records import outcome_of, quality_of
from autocompress.study.schema import ArtifactRow, CandidateRow, MeasurementRow


@dataclass(frozen=True, kw_only=True)
class Details:
    """One trial as it was told, which the row of results is made from."""

    outcome: Outcome
    test: Quality | None


def read_details(url: str, name: str, trial: int) -> Details:
    """The details of a trial of a study. UsageError where there is no such study or trial."""
    engine = reading_engine(url)
    with Session(engine) as session:
        study = find_study(session, name)
        candidate = (
            session.scalars(
                select(CandidateRow).where(CandidateRow.ac_study_id == study.id, CandidateRow.number == trial)
            ).one_or_none()
            if study
            else None
        )
        if candidate is None:
            raise UsageError(f"study {name}: no trial {trial}")
        query = select(MeasurementRow).where(MeasurementRow.candidate_id == candidate.id)
        seen = {row.split: row for row in session.scalars(query)}
        sha256 = session.scalars(
            select(ArtifactRow.sha256).where(ArtifactRow.candidate_id == candidate.id)
        ).one_or_none()
        details = Details(
            outcome=outcome_of(candidate, sha256, own_measurement(seen), elsewhere_of(session, candidate.id)),
            test=quality_of(seen["test"]) if "test" in seen else None,
        )
    engine.dispose()
    return details
