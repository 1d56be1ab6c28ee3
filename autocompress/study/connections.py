"""Connections that only read, to any database SQLAlchemy knows; needs no Optuna.

An SQLite file is opened read-only: readers take no lock that a writer would wait for, never create the file, and can read
it while a search writes to it, after a search was killed, and on a read-only medium.
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
    """Create an engine for reading. UsageError for an invalid URL, and for an SQLite file that does not exist."""
    parsed = parse_url(url)
    path = sqlite_path(parsed)
    if path is None:
        return create_engine(parsed, poolclass=NullPool)
    if not path.is_file():
        raise UsageError(f"storage: no database at {path}; `autocompress search` creates it")
    engine = create_engine(parsed, poolclass=NullPool, creator=lambda: connect_read_only(path))

    @event.listens_for(engine, "begin")
    def _take_snapshot(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")  # one connection reads the state of one moment

    return engine


def parse_url(url: str) -> URL:
    """Parse and check the URL; UsageError, which never shows a password, where it is invalid."""
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


def shown(url: str | URL) -> str:
    """Render the URL for messages, without its password."""
    return make_url(url).render_as_string(hide_password=True)


def sqlite_path(url: URL) -> Path | None:
    """Return the file of an SQLite URL; null for other databases and for SQLite's own `file:` URIs."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return None
    return Path(url.database)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Connect read-only to an SQLite file; UsageError where it cannot be read."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        return _connect(uri)
    except sqlite3.DatabaseError as error:
        log_path = path.with_name(f"{path.name}-wal")
        if isinstance(error, sqlite3.OperationalError) and not os.access(path.parent, os.W_OK):
            if not log_path.exists() or log_path.stat().st_size == 0:  # then the file is complete without its log
                return _connect(f"{uri}&immutable=1")
            error = sqlite3.OperationalError(
                f"{log_path.name} can be read only in a writable folder; copy both files to one"
            )
        raise UsageError(f"storage: {path} cannot be read: {error}") from None


def error_reason(error: BaseException) -> str:
    """Return the first line of the message of a database driver's error, out of the errors that wrap it."""
    cause = error.__cause__ or error
    return str(getattr(cause, "orig", cause)).strip().partition("\n")[0]


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the file: connect alone does not
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
