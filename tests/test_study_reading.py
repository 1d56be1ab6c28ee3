"""Reading a study: errors, beside a writer, on a read-only medium, and without loading Optuna and torch."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from autocompress.core.errors import UsageError
from autocompress.study import StudyView, read_study, studies
from autocompress.study.connections import connect_read_only
from tests.databases import execute, sqlite_url
from tests.toy_study import TESTS, ToyStudy, searched_on_sqlite


@searched_on_sqlite
def test_reading_errors_name_the_available_studies(searched_toy: ToyStudy, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    with pytest.raises(UsageError, match=r"no study 'tay'.*available: toy"):
        read_study(searched_toy.url, "tay")
    with pytest.raises(UsageError, match="no database"):
        read_study(url, "toy")
    assert list(tmp_path.iterdir()) == []  # reading creates nothing
    with pytest.raises(UsageError, match="no trial 999"):
        searched_toy.view().row(999)
    execute(url, "CREATE TABLE t (x)")
    with pytest.raises(UsageError, match="no study in"):
        studies(url)
    (tmp_path / "study.db").write_text("not a database, but long enough to look at its header twice")
    with pytest.raises(UsageError, match="cannot be read"):
        studies(url)


@searched_on_sqlite
def test_reading_does_not_wait_for_a_writer(searched_toy: ToyStudy, tmp_path: Path) -> None:
    copy_database(searched_toy.folder, tmp_path)
    writer = sqlite3.connect(tmp_path / "study.db")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE ac_studies SET seconds = 99")
    views: list[StudyView] = []
    thread = threading.Thread(target=lambda: views.append(read_study(sqlite_url(tmp_path), "toy")), daemon=True)
    thread.start()
    thread.join(10)
    assert [view.seconds for view in views] == [12.5]
    writer.close()
    reader = connect_read_only(tmp_path / "study.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("UPDATE ac_studies SET seconds = 0")
    reader.close()


@searched_on_sqlite
def test_reading_on_a_read_only_medium(searched_toy: ToyStudy) -> None:
    """Read in a folder without write permission; root may write anywhere, so the reader is another user."""
    rows = len(searched_toy.view().rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_database(searched_toy.folder, folder)
        (folder / "study.db").chmod(0o444)
        folder.chmod(0o555)
        child = os.fork()
        if child == 0:  # never comes back to pytest
            read = -1
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                read = len(read_study(sqlite_url(folder), "toy").rows)
            finally:
                os._exit(0 if read == rows else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert [path.name for path in folder.iterdir()] == ["study.db"]
        folder.chmod(0o755)


@searched_on_sqlite
def test_reading_loads_neither_optuna_nor_torch(searched_toy: ToyStudy) -> None:
    code = (
        "import sys\nfrom autocompress.selection import hypervolume, pick\nfrom autocompress.study import read_study\n"
        f"view = read_study({searched_toy.url!r}, 'toy')\n"
        "pick(view.rows, view.constraints, examples=view.examples); hypervolume(view.front, view.reference)\n"
        "print([name for name in ('optuna', 'torch', 'transformers', 'alembic', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TESTS.parent, check=True)
    assert done.stdout.strip() == "[]"


def copy_database(source: Path, folder: Path) -> None:
    """Copy the database without the log that open connections keep beside it."""
    old, new = sqlite3.connect(source / "study.db"), sqlite3.connect(folder / "study.db")
    old.backup(new)
    old.close()
    new.close()
