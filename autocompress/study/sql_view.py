"""The SQL view `results`: one readable row per trial, made from the fields of `Recipe`, so that a new decision needs no
migration. For people and other programs; our own reader uses the tables.
"""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from sqlalchemy import Connection, Select, and_, case, select, text
from sqlalchemy.orm import aliased

from autocompress.core.recipe import DECISIONS, Recipe
from autocompress.study.tables import ArtifactRow, CandidateRow, MeasurementRow, StudyRow, TeacherRow, optuna_studies

VIEW = "results"


def remake_view(connection: Connection) -> None:
    """Drop the view and create it from the decisions that there are today."""
    statement = results_query().compile(connection, compile_kwargs={"literal_binds": True})
    connection.execute(text(f"DROP VIEW IF EXISTS {VIEW}"))
    connection.exec_driver_sql(f"CREATE VIEW {VIEW} AS {statement}")


def results_query() -> Select[Any]:
    """Study, trial, state and reason, every decision, and the measurements under the names of the JSON contract."""
    seen, test = aliased(MeasurementRow), aliased(MeasurementRow)
    teacher = TeacherRow
    is_teacher = CandidateRow.number == 0
    latency = case((is_teacher, teacher.latency_ms), else_=teacher.latency_ms / seen.speedup)
    columns = [
        optuna_studies.c.study_name.label("study"),
        CandidateRow.number.label("trial"),
        CandidateRow.state,
        CandidateRow.reason,
        CandidateRow.rung,
        *(_decision(name).label(name) for name in DECISIONS),
        seen.quality,
        seen.drop,
        seen.drop_low,
        seen.drop_high,
        seen.soft_drop,
        seen.soft_drop_low,
        seen.soft_drop_high,
        test.quality.label("test_quality"),
        test.drop.label("test_drop"),
        test.drop_low.label("test_drop_low"),
        test.drop_high.label("test_drop_high"),
        latency.label("latency_ms"),
        (latency * seen.p95_ms / seen.p50_ms).label("latency_p95_ms"),
        case((is_teacher, 1.0), else_=seen.speedup).label("speedup"),
        seen.speedup_low,
        seen.speedup_high,
        seen.size_mb,
        (teacher.size_mb / seen.size_mb).label("compression"),
        seen.memory_mb,
        seen.cold_ms,
        seen.throughput,
        seen.start_ms,
        CandidateRow.seconds,
        ArtifactRow.sha256,
    ]
    return (
        select(*columns)
        .join(StudyRow, StudyRow.id == CandidateRow.ac_study_id)
        .join(optuna_studies, optuna_studies.c.study_id == StudyRow.study_id)
        .outerjoin(teacher, teacher.ac_study_id == StudyRow.id)
        .outerjoin(ArtifactRow, ArtifactRow.candidate_id == CandidateRow.id)
        .outerjoin(seen, and_(seen.candidate_id == CandidateRow.id, seen.split.in_(("validation", "price"))))
        .outerjoin(test, and_(test.candidate_id == CandidateRow.id, test.split == "test"))
    )


def _decision(name: str) -> Any:
    """A decision out of the JSON, as a number or a text."""
    value = CandidateRow.recipe[name]
    kinds = get_args(hint := get_type_hints(Recipe)[name]) or (hint,)
    if int in kinds:
        return value.as_integer()
    return value.as_float() if float in kinds else value.as_string()
