"""Cold caches, throughput and cold start beside the latency; artifacts of secondary devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Three columns of both tables, and one of `ac_elsewhere`, null for what was measured before; an index to count by."""
    for table in ("ac_measurements", "ac_elsewhere"):
        for name in ("cold_ms", "throughput", "start_ms"):
            op.add_column(table, sa.Column(name, sa.Double))
    op.add_column("ac_elsewhere", sa.Column("sha256", sa.String(64)))
    op.create_index(
        "ix_ac_candidates_spent", "ac_candidates", ["ac_study_id", "state", "twin_of", "retry_of", "number"]
    )
