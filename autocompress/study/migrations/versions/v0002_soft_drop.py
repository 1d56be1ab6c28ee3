"""The soft drop, which has a lower variance than the drop."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Three columns, null for what was measured before."""
    for name in ("soft_drop", "soft_drop_low", "soft_drop_high"):
        op.add_column("ac_measurements", sa.Column(name, sa.Double))
