"""The first schema: studies, teachers, candidates, artifacts, measurements."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _create_studies()
    _create_candidates()
    _create_measurements()


def _create_studies() -> None:
    op.create_table(
        "ac_studies",
        sa.Column("id", sa.Integer, primary_key=True),
        _key("study_id", "studies.study_id", unique=True),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("constraints", sa.JSON, nullable=False),
        sa.Column("artifacts", sa.Text),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("runs", sa.Integer, nullable=False),
        *_floats("reference_drop_points", "reference_latency_ms", "reference_size_mb"),
        sa.Column("owner", sa.String(32)),
        sa.Column("owner_process", sa.JSON),
        *_floats("owner_since", "beat"),
    )
    op.create_table(
        "ac_teachers",
        sa.Column("id", sa.Integer, primary_key=True),
        _key("ac_study_id", "ac_studies.id", unique=True),
        sa.Column("sha256", sa.String(64)),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("size_mb", sa.Double, nullable=False),
        *_floats("quality"),
        sa.Column("examples", sa.Integer),
    )


def _create_candidates() -> None:
    op.create_table(
        "ac_candidates",
        sa.Column("id", sa.Integer, primary_key=True),
        _key("ac_study_id", "ac_studies.id"),
        _key("trial_id", "trials.trial_id", unique=True),
        sa.Column("uid", sa.String(32), nullable=False, unique=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("recipe_key", sa.String(64), nullable=False, index=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        *_floats("seconds"),
        sa.Column("stages", sa.JSON, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("constraints", sa.JSON),
        sa.Column("retry_of", sa.Integer),
        sa.Column("twin_of", sa.Integer),
        sa.Column("log", sa.Text),
        sa.UniqueConstraint("ac_study_id", "number"),
    )
    op.create_table(
        "ac_artifacts",
        sa.Column("id", sa.Integer, primary_key=True),
        _key("candidate_id", "ac_candidates.id", unique=True),
        sa.Column("sha256", sa.String(64), nullable=False, index=True),
    )


def _create_measurements() -> None:
    op.create_table(
        "ac_measurements",
        sa.Column("id", sa.Integer, primary_key=True),
        _key("candidate_id", "ac_candidates.id"),
        sa.Column("split", sa.String(16), nullable=False),
        *_floats("quality", "drop", "drop_low", "drop_high", "disagreement"),
        sa.Column("examples", sa.Integer),
        sa.Column("predictions_sha256", sa.String(64)),
        *_floats("p50_ms", "p95_ms", "reference_p50_ms", "speedup", "speedup_low", "speedup_high"),
        sa.Column("blocks", sa.Integer),
        *_floats("size_mb", "memory_mb"),
        sa.Column("conditions", sa.JSON),
        sa.UniqueConstraint("candidate_id", "split"),
    )


def _key(name: str, target: str, unique: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, sa.ForeignKey(target, ondelete="CASCADE"), nullable=False, unique=unique)


def _floats(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double) for name in names]
