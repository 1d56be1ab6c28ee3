"""The SQL view `results`: one readable row per trial, for people and other programs; our own queries use the tables.

It has a column for each technique, so that a new decision needs no migration.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Select, and_, case, select, text
from sqlalchemy.orm import aliased

from autocompress.core.technique import Technique, ordered_techniques
from autocompress.study.row_mapping import LATER
from autocompress.study.tables import (
    LATER_NUMBERS,
    ArtifactRow,
    CandidateRow,
    MeasurementRow,
    StudyRow,
    TeacherRow,
    optuna_studies,
)

VIEW = "results"


def remake_view(connection: Connection) -> None:
    """Drop the view and create it from the present decisions."""
    statement = results_query().compile(connection, compile_kwargs={"literal_binds": True})
    connection.execute(text(f"DROP VIEW IF EXISTS {VIEW}"))
    connection.exec_driver_sql(f"CREATE VIEW {VIEW} AS {statement}")


def results_query() -> Select[*tuple[object, ...]]:
    """Build the query: study, trial, state and reason, every decision, and the measurements under their JSON names."""
    search, test = aliased(MeasurementRow), aliased(MeasurementRow)
    teacher = TeacherRow
    is_teacher = CandidateRow.number == 0
    latency = case((is_teacher, teacher.latency_ms), else_=teacher.latency_ms / search.speedup)
    columns = [
        optuna_studies.c.study_name.label("study"),
        CandidateRow.number.label("trial"),
        CandidateRow.state,
        CandidateRow.reason,
        CandidateRow.rung,
        *(_decision_column(technique).label(name) for name, technique in ordered_techniques().items()),
        search.quality,
        search.drop,
        search.drop_low,
        search.drop_high,
        search.soft_drop,
        search.soft_drop_low,
        search.soft_drop_high,
        test.quality.label("test_quality"),
        test.drop.label("test_drop"),
        test.drop_low.label("test_drop_low"),
        test.drop_high.label("test_drop_high"),
        latency.label("latency_ms"),
        (latency * search.p95_ms / search.p50_ms).label("latency_p95_ms"),
        case((is_teacher, 1.0), else_=search.speedup).label("speedup"),
        search.speedup_low,
        search.speedup_high,
        search.size_mb,
        (teacher.size_mb / search.size_mb).label("compression"),
        search.memory_mb,
        search.cold_ms,
        search.throughput,
        search.start_ms,
        *(search.conditions[(LATER_NUMBERS, name)].as_float().label(name) for name in LATER),
        CandidateRow.seconds,
        ArtifactRow.sha256,
    ]
    return (
        select(*columns)
        .join(StudyRow, StudyRow.id == CandidateRow.ac_study_id)
        .join(optuna_studies, optuna_studies.c.study_id == StudyRow.study_id)
        .outerjoin(teacher, teacher.ac_study_id == StudyRow.id)
        .outerjoin(ArtifactRow, ArtifactRow.candidate_id == CandidateRow.id)
        .outerjoin(search, and_(search.candidate_id == CandidateRow.id, search.split.in_(("validation", "price"))))
        .outerjoin(test, and_(test.candidate_id == CandidateRow.id, test.split == "test"))
    )


def _decision_column(technique: Technique) -> ColumnElement[object]:
    """Extract a decision from the JSON, as a number or a text."""
    value = CandidateRow.recipe[technique.name]
    value_type = technique.domain.value_type
    column: ColumnElement[object] = (
        value.as_integer() if value_type is int else value.as_float() if value_type is float else value.as_string()
    )
    return column
