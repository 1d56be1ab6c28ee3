"""Connections that only read, to any database SQLAlchemy knows; needs no Optuna.

An SQLite file is opened read-only, takes no lock that a writer would wait for, is never created by looking at it, and
can be read while a search writes to it, after a search was killed, and on a medium that cannot be written.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from autocompress.core.errors import UsageError

TIMEOUT_SECONDS = 60.0


def reading_engine(url: str) -> Engine:
    """An engine for reading. Errors: a URL that is none, an SQLite file that does not exist."""
    parsed = parse_url(url)
    path = sqlite_path(parsed)
    if path is None:
        return create_engine(parsed, poolclass=NullPool)
    if not path.is_file():
        raise UsageError(f"storage: there is no database at {path}; a search creates it")
    engine = create_engine(parsed, poolclass=NullPool, creator=lambda: connect_read_only(path))

    @event.listens_for(engine, "begin")
    def _one_snapshot(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")  # all that one connection reads is of one moment

    return engine


def parse_url(url: str) -> URL:
    """The URL, checked; the error never shows a password."""
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        kind = url.partition("://")[0] if "://" in url else url
        raise UsageError(
            f"storage: an SQLAlchemy URL is needed, e.g. sqlite:///study.db or postgresql+psycopg://…, but got {kind!r}"
        ) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UsageError("storage: a database in memory would be lost; name a file, e.g. sqlite:///study.db")
    return parsed


def shown(url: str) -> str:
    """The URL for messages, without its password."""
    return make_url(url).render_as_string(hide_password=True)


def sqlite_path(url: URL) -> Path | None:
    """The file of an SQLite URL; null for other databases and for SQLite's own `file:` URIs."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return None
    return Path(url.database)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A read-only connection to an SQLite file."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        return _connected(address)
    except sqlite3.DatabaseError as error:
        log = path.with_name(f"{path.name}-wal")
        if isinstance(error, sqlite3.OperationalError) and not os.access(path.parent, os.W_OK):
            if not log.exists() or log.stat().st_size == 0:  # then the file alone is the whole truth
                return _connected(f"{address}&immutable=1")
            error = sqlite3.OperationalError(f"{log.name} can only be read in a folder that can be written; copy both")
        raise UsageError(f"storage: {path} cannot be read: {error}") from None


def _connected(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address, uri=True, timeout=TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the file: connect alone does not
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
