"""Alembic's migrations of our tables; `ac_alembic_version` holds their version, Optuna's version table is not touched."""
