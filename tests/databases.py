"""Databases for tests: a fresh SQLite file, or a fresh database of a PostgreSQL server.

The server is the one that AUTOCOMPRESS_TEST_POSTGRESQL names (postgresql+psycopg://user@host/database; its user must be
allowed to create databases), else a private one, started for the test session where PostgreSQL is installed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

START_SECONDS = 60.0
SETTINGS = ("listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=50")


@pytest.fixture(params=["sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that does not exist yet (SQLite) or is empty (PostgreSQL)."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path)
        return
    with fresh_database(request.getfixturevalue("postgresql_server")) as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a database of a PostgreSQL server, to create others from."""
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install 'autocompress[postgresql]'")
    if existing := os.environ.get("AUTOCOMPRESS_TEST_POSTGRESQL"):
        yield existing
        return
    programs = find_programs()
    if programs is None:
        pytest.skip(
            "no initdb and postgres in PATH or /usr/lib/postgresql, and AUTOCOMPRESS_TEST_POSTGRESQL is not set"
        )
    user = server_user()
    if user is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres to run it as")
    with private_server(programs, user) as url:
        yield url


def sqlite_url(folder: Path) -> str:
    """Return the URL of the study database in a folder."""
    return f"sqlite:///{folder / 'study.db'}"


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """Create an empty database beside that of the URL `server`; drop it at the end, whoever is connected to it."""
    name = f"test_{uuid.uuid4().hex}"
    execute(server, f"CREATE DATABASE {name}")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def execute(url: str, statement: str) -> None:
    """Execute a statement outside of a transaction."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


def find_programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`, of the newest version; null where there is none."""
    on_path = shutil.which("initdb")
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    folders = [*([Path(on_path).resolve().parent] if on_path else []), *installed]
    return next((path for path in folders if (path / "initdb").is_file() and (path / "postgres").is_file()), None)


def server_user() -> str | None:
    """Return the name of the user that the server runs as: this one, or `postgres` where this one is root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    return next((entry.pw_name for entry in pwd.getpwall() if entry.pw_name == "postgres"), None)


@contextmanager
def private_server(programs: Path, user: str) -> Iterator[str]:
    """Run a server on a Unix socket in a temporary folder, and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    data, log = folder / "data", folder / "log"
    options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"]
    try:
        shutil.chown(folder, user)
        with log.open("wb") as output:
            initialized = start([programs / "initdb", "-D", data, *options], user, output).wait()
            assert initialized == 0, log.read_text()
            settings = [f"-c{setting}" for setting in SETTINGS]
            server = start([programs / "postgres", "-D", data, "-k", folder, *settings], user, output)
        try:
            url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
            wait_until_ready(url, server, log)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # a fast shutdown, which disconnects all clients
            server.wait(START_SECONDS)
    finally:
        shutil.rmtree(folder)


def start(command: Sequence[str | Path], user: str, output: BinaryIO) -> subprocess.Popen[bytes]:
    """Start a program as `user`, who is this process's user or, where that is root, any other."""
    folder = Path(output.name).parent
    if os.geteuid() != 0:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    group = pwd.getpwnam(user).pw_gid
    return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, user=user, group=group, extra_groups=[])


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server accepts connections; RuntimeError, with its log, where it ends or takes too long."""
    end = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        try:
            execute(url, "SELECT 1")
        except OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
