"""Optuna's storage and our tables in one database, opened for writing: one per process, never pickled or forked.

On SQLite every transaction begins with BEGIN IMMEDIATE: Optuna pops waiting trials with a read and a later write, and
without the lock two workers would pop the same one. Mind that Optuna therefore waits for a transaction of ours that is
still open: fetch first, open ours after, keep it short.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import optuna
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from autocompress.config import check_storage
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.study.connections import connect_read_only, parse_url, shown, sqlite_path
from autocompress.study.lease import is_alive
from autocompress.study.sql_view import remake_view

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "ac_alembic_version"
PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=60000", "foreign_keys=ON")
WAITS_SECONDS = (0.1, 0.3, 1, 3, 10, 30)  # between attempts: longer than a database takes to restart
Value = TypeVar("Value")


def open_storage(url: str, upgrade: bool = False) -> optuna.storages.RDBStorage:
    """The database with all tables and the view `results`, made or brought up to date.

    A database that an earlier version wrote is brought up to date while no study in it is being searched: an SQLite file by
    itself, after a backup beside it; any other database only with `upgrade`, since its backup is its owner's business.
    """
    parse_url(url)
    check_storage(url)
    try:
        storage = _patiently(lambda: _open(url))  # two processes that create the tables at once trip over each other
        _patiently(lambda: migrate(storage.engine, upgrade))
    except (OperationalError, optuna.exceptions.StorageInternalError, ImportError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", cause)).strip().partition("\n")[0]
        raise UsageError(f"storage: {shown(url)} cannot be opened: {reason}") from error
    return storage


def migrate(engine: Engine, explicit: bool = False) -> None:
    """Bring our tables to this version, in one transaction, and make the view `results` again.

    Of Optuna's tables only an attribute of ours is rewritten. AutocompressError while a study of the database is being
    searched; UsageError for a database other than SQLite where the upgrade was not asked for by name (`explicit`).
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with _quiet("alembic"), engine.begin() as connection:
        config.attributes["connection"] = connection
        before = schema_version(connection)
        if before is not None and head is not None and before < head:
            _prepare_upgrade(connection, before, explicit)
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise AutocompressError(
                f"the study database was written by a newer autocompress ({error}); upgrade this one"
            ) from error
        remake_view(connection)


def schema_version(connection: Connection) -> str | None:
    """The version of our tables in a database; null where there are none yet."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def backup_path(path: Path, version: str | None) -> Path:
    """Where the backup of an SQLite file lies that was made before its tables of that version were upgraded."""
    return path.with_name(f"{path.name}.schema-{version}.backup")


def _prepare_upgrade(connection: Connection, before: str, explicit: bool) -> None:
    """Refuse an upgrade beside a search or without a word from the database's owner; back up an SQLite file."""
    url = connection.engine.url
    held = connection.execute(text("SELECT owner_process, beat FROM ac_studies WHERE owner IS NOT NULL")).all()
    for process, beat in held:
        owner = json.loads(process) if isinstance(process, str) else process
        if is_alive(owner or {}, beat or 0.0, time.time()):
            raise AutocompressError(
                f"storage: {shown(str(url))} was written by an earlier version and must be upgraded, but process"
                f" {(owner or {}).get('pid')} searches a study in it; stop that search first"
            )
    path = sqlite_path(url)
    if path is not None:
        _back_up(path, backup_path(path, before))
    elif not explicit:
        raise UsageError(
            f"storage: {url.render_as_string(hide_password=True)} was written by an earlier version (schema {before}); back it"
            " up, then run `autocompress storage upgrade --storage URL`"
        )


def _back_up(path: Path, target: Path) -> None:
    """Copy an SQLite file by SQLite's own backup; nothing is half there."""
    unfinished = target.with_name(f"{target.name}.part")
    unfinished.unlink(missing_ok=True)
    with closing(connect_read_only(path)) as source, closing(sqlite3.connect(unfinished)) as copy:
        source.backup(copy)
    unfinished.replace(target)


def with_retries(act: Callable[[], Value], waits: tuple[float, ...] = WAITS_SECONDS) -> Value:
    """Do it, and again after a pause where the database is locked, restarting or out of reach for a while."""
    for wait in waits:
        try:
            return act()
        except (OperationalError, optuna.exceptions.StorageInternalError):
            time.sleep(wait)
    return act()


def _open(url: str) -> optuna.storages.RDBStorage:
    if parse_url(url).get_backend_name() != "sqlite":
        engine_kwargs = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 2}
        return optuna.storages.RDBStorage(url, engine_kwargs=engine_kwargs)
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    begin_immediate(storage.engine)
    return storage


def begin_immediate(engine: Engine) -> None:
    """Let every transaction of an SQLite engine take the write lock at once, and every connection cascade deletions."""

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we emit BEGIN ourselves
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # drop connections that were opened without this


def _patiently(act: Callable[[], Value], waits: tuple[float, ...] = (0.1, 0.3, 1.0, 2.0)) -> Value:
    """Creating tables that another process is creating fails with any of these; the next attempt finds them there."""
    for wait in waits:
        try:
            return act()
        except (DBAPIError, optuna.exceptions.StorageInternalError):
            time.sleep(wait)
    return act()


class _quiet:  # noqa: N801  # reads as a verb at its use
    """Keeps a library's chatter below warnings for a while."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)
