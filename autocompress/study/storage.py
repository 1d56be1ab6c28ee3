"""Optuna's storage and our tables in one database, opened for writing: one per process, never pickled or forked.

On SQLite every transaction begins with BEGIN IMMEDIATE: Optuna pops waiting trials with a read and a later write, and
without the lock two workers would pop the same one. Mind that Optuna therefore waits for a transaction of ours that is
still open: fetch first, open ours after, keep it short.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from autocompress.errors import AutocompressError, UsageError
from autocompress.plan import check_storage
from autocompress.study.databases import parse_url, shown
from autocompress.study.view import remake_view

PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=60000", "foreign_keys=ON")
WAITS_SECONDS = (0.1, 0.3, 1, 3, 10, 30)  # between attempts: longer than a database takes to restart
Value = TypeVar("Value")


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """The database with all tables and the view `results`, made or brought up to date."""
    parse_url(url)
    check_storage(url)
    try:
        storage = _patiently(lambda: _open(url))  # two processes that create the tables at once trip over each other
        _patiently(lambda: migrate(storage.engine))
    except (OperationalError, optuna.exceptions.StorageInternalError, ImportError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", cause)).strip().partition("\n")[0]
        raise UsageError(f"storage: {shown(url)} cannot be opened: {reason}") from error
    return storage


def migrate(engine: Engine) -> None:
    """Bring our tables to this version and make the view `results` again; Optuna's tables are not touched."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with _quiet("alembic"), engine.begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise AutocompressError(
                f"the study database was written by a newer autocompress ({error}); upgrade this one"
            ) from error
        remake_view(connection)


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
