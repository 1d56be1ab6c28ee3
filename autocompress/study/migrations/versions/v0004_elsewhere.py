"""Measurements on secondary devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """One table, with the columns of `ac_measurements` and the device's name."""
    drops = ("drop", "drop_low", "drop_high", "disagreement", "soft_drop", "soft_drop_low", "soft_drop_high")
    latencies = ("p50_ms", "p95_ms", "reference_p50_ms", "speedup", "speedup_low", "speedup_high")
    op.create_table(
        "ac_elsewhere",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("candidate_id", sa.Integer, sa.ForeignKey("ac_candidates.id", ondelete="CASCADE"), nullable=False),
        sa.Column("device", sa.String(32), nullable=False),
        sa.Column("split", sa.String(16), nullable=False),
        *_floats("quality", *drops),
        sa.Column("examples", sa.Integer),
        sa.Column("predictions_sha256", sa.String(64)),
        *_floats(*latencies),
        sa.Column("blocks", sa.Integer),
        *_floats("size_mb", "memory_mb"),
        sa.Column("conditions", sa.JSON),
        sa.UniqueConstraint("candidate_id", "device", "split"),
    )


def _floats(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double) for name in names]
