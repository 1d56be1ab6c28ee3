"""Optuna's storage and our tables in one database, opened for writing: one per process, never pickled or forked.

On SQLite every transaction begins with BEGIN IMMEDIATE: Optuna pops waiting trials with a read and a later write, and
without the lock two workers would pop the same one. Optuna therefore waits while a transaction of ours is open: call Optuna
first, open our transaction afterwards, and keep it short.
"""

from __future__ import annotations

import sqlite3

import optuna
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from autocompress.config import check_storage
from autocompress.core.errors import UsageError
from autocompress.study.connections import error_reason, parse_url, shown
from autocompress.study.retries import with_retries
from autocompress.study.schema_upgrade import migrate

PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=60000", "foreign_keys=ON")
CREATION_WAITS_SECONDS = (0.1, 0.3, 1.0, 2.0)
CREATION_ERRORS = (
    DBAPIError,
    optuna.exceptions.StorageInternalError,
)  # of tables that another process creates meanwhile


def open_storage(url: str, upgrade: bool = False) -> optuna.storages.RDBStorage:
    """Open the database; create or upgrade our tables and the view `results`.

    A database of an earlier version is upgraded while none of its studies is being searched: an SQLite file without being
    asked, after a backup beside it; any other database only with `upgrade`, since its owner is responsible for backups.
    UsageError where the database cannot be opened.
    """
    parse_url(url)
    check_storage(url)
    try:
        storage = with_retries(lambda: _open(url), CREATION_WAITS_SECONDS, CREATION_ERRORS)
        try:
            with_retries(lambda: migrate(storage.engine, upgrade), CREATION_WAITS_SECONDS, CREATION_ERRORS)
        except BaseException:
            storage.engine.dispose()
            raise
    except (OperationalError, optuna.exceptions.StorageInternalError, ImportError) as error:
        raise UsageError(f"storage: {shown(url)} cannot be opened: {error_reason(error)}") from error
    return storage


def begin_immediate(engine: Engine) -> None:
    """Let every transaction of an SQLite engine take the write lock at once, and every connection cascade deletions."""

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we emit BEGIN ourselves
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # drop connections that were opened without this


def _open(url: str) -> optuna.storages.RDBStorage:
    if parse_url(url).get_backend_name() != "sqlite":
        engine_kwargs = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 2}
        return optuna.storages.RDBStorage(url, engine_kwargs=engine_kwargs)
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    begin_immediate(storage.engine)
    return storage
