"""Our tables, beside Optuna's in the same database. Ours have the prefix `ac_`; Optuna's have none.

Recipes, facts and conditions are JSON, so that a new decision needs no migration: the view `results` is created anew from
the techniques whenever a study is opened. Every foreign key cascades, so that a deleted study leaves no rows behind,
which a later study could inherit (SQLite reuses the numbers of deleted rows). Times are seconds since 1970.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from autocompress.core.json_types import Json

LATER_NUMBERS = "numbers"  # key in `conditions`: numbers of a measurement that came without a migration
STALE_SECONDS = 20.0  # a supervisor without a heartbeat for so long counts as dead


class Base(DeclarativeBase):
    """Our tables."""

    metadata = MetaData()
    type_annotation_map = {Json: JSON, float: Double}  # noqa: RUF012  # as SQLAlchemy declares it


# Stubs of Optuna's tables: only the columns that ours refer to, or that we read. Optuna creates and migrates them.
optuna_studies = Table(
    "studies", Base.metadata, Column("study_id", Integer, primary_key=True), Column("study_name", String(512))
)
optuna_trials = Table(
    "trials",
    Base.metadata,
    Column("trial_id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.study_id")),
)


def _attribute_table(owner: str) -> Table:
    """Describe the table of Optuna's attributes of trials: `user` or `system`."""
    return Table(
        f"trial_{owner}_attributes",
        Base.metadata,
        Column(f"trial_{owner}_attribute_id", Integer, primary_key=True),
        Column("trial_id", ForeignKey("trials.trial_id")),
        Column("key", String(512)),
        Column("value_json", Text()),
    )


optuna_user_attributes = _attribute_table("user")
optuna_trial_attributes = _attribute_table("system")


class StudyRow(Base):
    """A study: its plan, the used budget, and the process that searches it."""

    __tablename__ = "ac_studies"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.study_id", ondelete="CASCADE"), unique=True)
    uid: Mapped[str] = mapped_column(String(32))  # also a user attribute of Optuna's study
    plan: Mapped[Json]  # as written in the study file, without storage and folders
    constraints: Mapped[Json]  # those in force
    artifacts: Mapped[str | None] = mapped_column(Text)  # relative to the database's folder
    recovery: Mapped[Json | None]  # as fitted to the time budget when the study was begun
    seconds: Mapped[float] = mapped_column(default=0.0)
    runs: Mapped[int] = mapped_column(default=0)
    reference_drop_points: Mapped[float | None]  # reference point of the hypervolume
    reference_latency_ms: Mapped[float | None]
    reference_size_mb: Mapped[float | None]
    owner: Mapped[str | None] = mapped_column(String(32))  # the supervisor that holds the lease
    owner_process: Mapped[Json | None]  # boot, pid, started: identify the process
    owner_since: Mapped[float | None]
    beat: Mapped[float | None]  # the lease's last heartbeat


class TeacherRow(Base):
    """The uncompressed model that every trial of a study is compared with."""

    __tablename__ = "ac_teachers"

    id: Mapped[int] = mapped_column(primary_key=True)
    ac_study_id: Mapped[int] = mapped_column(ForeignKey("ac_studies.id", ondelete="CASCADE"), unique=True)
    sha256: Mapped[str | None] = mapped_column(String(64))
    latency_ms: Mapped[float]
    size_mb: Mapped[float]
    quality: Mapped[float | None]
    examples: Mapped[int | None]  # rows of the validation split


class CandidateRow(Base):
    """One trial: its recipe and its outcome."""

    __tablename__ = "ac_candidates"
    __table_args__ = (
        UniqueConstraint("ac_study_id", "number"),
        # counted after each trial: the rows themselves are long
        Index("ix_ac_candidates_spent", "ac_study_id", "state", "twin_of", "retry_of", "number"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ac_study_id: Mapped[int] = mapped_column(ForeignKey("ac_studies.id", ondelete="CASCADE"))
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.trial_id", ondelete="CASCADE"), unique=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True)
    number: Mapped[int]
    recipe: Mapped[Json]
    recipe_key: Mapped[str] = mapped_column(String(64), index=True)
    rung: Mapped[int | None]  # 0: untrained, 1: trained shortly, 2: trained in full; null for the teacher
    state: Mapped[str] = mapped_column(String(16))  # running | complete | stopped | failed
    reason: Mapped[str | None] = mapped_column(Text)
    seconds: Mapped[float | None]
    stages: Mapped[Json]
    facts: Mapped[Json]
    constraints: Mapped[Json | None]  # in force when it ended: a stop is valid only under them
    retry_of: Mapped[int | None]  # number of the interrupted trial that this one repeats
    twin_of: Mapped[int | None]  # number of the trial whose result was reused
    log: Mapped[str | None] = mapped_column(Text)  # relative to the artifacts' folder


class ArtifactRow(Base):
    """The artifact of a trial; the store holds its folder under the sha256."""

    __tablename__ = "ac_artifacts"

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("ac_candidates.id", ondelete="CASCADE"), unique=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)


class MeasurementColumns:
    """A measurement of a candidate on one device: `price` before training, else the split of its quality."""

    id: Mapped[int] = mapped_column(primary_key=True)
    split: Mapped[str] = mapped_column(String(16))  # price | validation | test | agreement
    quality: Mapped[float | None]
    drop: Mapped[float | None]
    drop_low: Mapped[float | None]
    drop_high: Mapped[float | None]
    disagreement: Mapped[float | None]
    soft_drop: Mapped[float | None]
    soft_drop_low: Mapped[float | None]
    soft_drop_high: Mapped[float | None]
    examples: Mapped[int | None]
    predictions_sha256: Mapped[str | None] = mapped_column(String(64))
    p50_ms: Mapped[float | None]
    p95_ms: Mapped[float | None]
    reference_p50_ms: Mapped[float | None]
    speedup: Mapped[float | None]
    speedup_low: Mapped[float | None]
    speedup_high: Mapped[float | None]
    blocks: Mapped[int | None]
    size_mb: Mapped[float | None]
    memory_mb: Mapped[float | None]
    cold_ms: Mapped[float | None]
    throughput: Mapped[float | None]  # texts per second
    start_ms: Mapped[float | None]
    conditions: Mapped[Json | None]  # and, under LATER_NUMBERS, the numbers that have no column of their own


class MeasurementRow(MeasurementColumns, Base):
    """A measurement on the device that drives the search."""

    __tablename__ = "ac_measurements"
    __table_args__ = (UniqueConstraint("candidate_id", "split"),)

    candidate_id: Mapped[int] = mapped_column(ForeignKey("ac_candidates.id", ondelete="CASCADE"))


class OtherDeviceRow(MeasurementColumns, Base):
    """A measurement on a secondary device."""

    __tablename__ = "ac_elsewhere"
    __table_args__ = (UniqueConstraint("candidate_id", "device", "split"),)

    candidate_id: Mapped[int] = mapped_column(ForeignKey("ac_candidates.id", ondelete="CASCADE"))
    device: Mapped[str] = mapped_column(String(32))  # its name in the study file
    sha256: Mapped[str | None] = mapped_column(
        String(64)
    )  # of the artifact for its runtime; null: the trial's artifact
