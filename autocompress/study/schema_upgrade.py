"""The version of our tables: created, upgraded by alembic in one transaction, and backed up before an upgrade."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, text

from autocompress.core.errors import AutocompressError, UsageError
from autocompress.study.connections import connect_read_only, shown, sqlite_path
from autocompress.study.lease import is_alive
from autocompress.study.sql_view import remake_view

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "ac_alembic_version"


def migrate(engine: Engine, explicit: bool = False) -> None:
    """Upgrade our tables to this version in one transaction, and create the view `results` anew.

    Of Optuna's tables only an attribute of ours is rewritten. AutocompressError while a study of the database is being
    searched, or where a newer version wrote it; UsageError for a database other than SQLite without `explicit`.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with _without_info_log("alembic"), engine.begin() as connection:
        config.attributes["connection"] = connection
        before = schema_version(connection)
        if before is not None and head is not None and before < head:
            _prepare_upgrade(connection, before, explicit)
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise AutocompressError(
                f"storage: {_shown_url(connection)} was written by a newer autocompress ({error}); install that version"
            ) from error
        remake_view(connection)


def schema_version(connection: Connection) -> str | None:
    """Return the version of our tables in a database; null where there are none yet."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def backup_path(path: Path, version: str | None) -> Path:
    """Return the path of the backup of an SQLite file with tables of that version."""
    return path.with_name(f"{path.name}.schema-{version}.backup")


def _prepare_upgrade(connection: Connection, before: str, explicit: bool) -> None:
    """Back up an SQLite file; refuse an upgrade during a search, and of another database without `explicit`."""
    _refuse_while_searched(connection)
    path = sqlite_path(connection.engine.url)
    if path is not None:
        _back_up(path, backup_path(path, before))
    elif not explicit:
        raise UsageError(
            f"storage: {_shown_url(connection)} was written by an earlier version (schema {before}); back it up, then run"
            " `autocompress storage upgrade --storage URL`"
        )


def _refuse_while_searched(connection: Connection) -> None:
    leases = connection.execute(text("SELECT owner_process, beat FROM ac_studies WHERE owner IS NOT NULL")).all()
    for process, beat in leases:
        owner = (json.loads(process) if isinstance(process, str) else process) or {}
        if is_alive(owner, beat or 0.0, time.time()):
            raise AutocompressError(
                f"storage: {_shown_url(connection)} was written by an earlier version and must be upgraded, but process"
                f" {owner.get('pid')} searches a study in it; stop that search first"
            )


def _back_up(path: Path, target: Path) -> None:
    """Copy an SQLite file with SQLite's backup; `target` appears only when it is complete."""
    unfinished = target.with_name(f"{target.name}.part")
    unfinished.unlink(missing_ok=True)
    with closing(connect_read_only(path)) as source, closing(sqlite3.connect(unfinished)) as copy:
        source.backup(copy)
    unfinished.replace(target)


def _shown_url(connection: Connection) -> str:
    return shown(connection.engine.url)


@contextmanager
def _without_info_log(name: str) -> Iterator[None]:
    """Silence a library's log below warnings for a while."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
