"""Run by alembic: upgrade over the connection that `schema_upgrade.migrate` passes."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="ac_alembic_version")
with context.begin_transaction():
    context.run_migrations()
