"""Alembic's migrations of our tables; their version stands in `ac_alembic_version`, Optuna's own is left alone."""
