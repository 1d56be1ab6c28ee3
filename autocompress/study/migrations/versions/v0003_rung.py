"""The rung of a trial, and the fitted recovery of a study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Two columns; what was tried before was trained in full, for as long as the study file says."""
    op.add_column("ac_candidates", sa.Column("rung", sa.Integer))
    op.add_column("ac_studies", sa.Column("recovery", sa.JSON))
    op.execute("UPDATE ac_candidates SET rung = 2 WHERE number > 0")
