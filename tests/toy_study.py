"""The formula's study in a database, for the tests of `study`: opened, read back, and searched by a process to kill.

Its fixtures belong to every test session: Optuna is loaded only where they are used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from autocompress.study import StudyView, read_study
from tests.databases import fresh_database, sqlite_url

if TYPE_CHECKING:
    import optuna

    from autocompress.study import Study

TESTS = Path(__file__).parent
NAME = "toy"


class ToyStudy:
    """A study in one database. `close` closes all connections that were opened through it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self._studies: list[Study] = []
        self._storages: list[optuna.storages.RDBStorage] = []

    def open(self, **changes: Any) -> Study:
        """Create or resume the study, with a changed plan."""
        from tests.formula import open_study

        study = open_study(self.folder, **{"storage": self.url, **changes})
        self._studies.append(study)
        return study

    def view(self) -> StudyView:
        """Read the study."""
        return read_study(self.url, NAME)

    def optuna_storage(self) -> optuna.storages.RDBStorage:
        """Open the database with Optuna alone, as another program does."""
        import optuna

        self._storages.append(optuna.storages.RDBStorage(self.url))
        return self._storages[-1]

    def optuna_study(self) -> optuna.Study:
        """Load Optuna's study."""
        import optuna

        return optuna.load_study(study_name=NAME, storage=self.optuna_storage())

    def open_storage(self) -> optuna.storages.RDBStorage:
        """Open the database for writing, with our tables."""
        from autocompress.study.database import open_storage

        self._storages.append(open_storage(self.url))
        return self._storages[-1]

    def column_names(self, table: str) -> list[str]:
        """Return the names of the columns of a table or view."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.connect() as connection:
            return [column["name"] for column in inspect(connection).get_columns(table)]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Execute a query."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    @contextmanager
    def process(self, kind: str) -> Iterator[subprocess.Popen[str]]:
        """Search in a process group that is killed at the end; see `tests.formula.main`."""
        command = [sys.executable, str(TESTS / "formula.py"), str(self.folder), self.url, kind]
        python_path = os.pathsep.join([str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": python_path}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """Close all connections."""
        for study in self._studies:
            study.close()
        for storage in self._storages:
            storage.engine.dispose()


@pytest.fixture
def toy(tmp_path: Path, storage_url: str) -> Iterator[ToyStudy]:
    """A study that does not exist yet, on SQLite and on PostgreSQL."""
    study = ToyStudy(tmp_path, storage_url)
    yield study
    study.close()


@pytest.fixture
def begun(toy: ToyStudy) -> Iterator[Study]:
    """The study of `toy` with its teacher recorded and the lease held."""
    from tests.formula import teacher_outcome

    study = toy.open()
    with study.lease():
        study.record_teacher(teacher_outcome())
        yield study


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def searched_toy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyStudy]:
    """A study of 25 trials, searched to its end. Not to be changed."""
    folder = tmp_path_factory.mktemp("searched-toy")
    if request.param == "sqlite":
        yield from _searched(ToyStudy(folder, sqlite_url(folder)))
        return
    with fresh_database(request.getfixturevalue("postgresql_server")) as url:
        yield from _searched(ToyStudy(folder, url))


def _searched(toy: ToyStudy) -> Iterator[ToyStudy]:
    from tests.formula import quality, search

    study = toy.open()
    with study.lease():
        search(study, 25)
        study.add_seconds(12.5)
        study.record_quality(1, quality("test", 0.011))
        study.finish()
    yield toy
    toy.close()


def wait_for(process: subprocess.Popen[str], word: str, times: int) -> list[str]:
    """Return the lines of a process up to the n-th one that begins with `word`."""
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.strip())
        if sum(line.startswith(word) for line in lines) == times:
            return lines
    raise AssertionError(f"the search ended after {lines}")


on_sqlite = pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("storage_url", ["postgresql"], indirect=True)
searched_on_sqlite = pytest.mark.parametrize("searched_toy", ["sqlite"], indirect=True)


@contextmanager
def serve_dashboard(url: str) -> Iterator[str]:
    """Serve the dashboard of the study and return the address of its page."""
    from autocompress.interfaces.dashboard import open_server

    with open_server(url, "toy", "127.0.0.1", 0, read_only=True) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()
