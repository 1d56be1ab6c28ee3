"""The database of a study: lookup by file or name, URLs, and checks that it can be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocompress.config import check_storage, read_plan, storage_of, storage_url, study_file
from autocompress.core.errors import UsageError

STUDY = "teacher: {model: org/name}\ntask: {data: {train: ../train.csv}}\n"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file studies/sst2.yaml in the working folder."""
    (tmp_path / "train.csv").write_text("text,label\nfine,1\n")
    (tmp_path / "studies").mkdir()
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "studies" / "sst2.yaml"
    file.write_text(STUDY)
    return file


def test_storage_of_finds_url_and_name(study: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{study.parent}/sst2/study.db"
    assert storage_of("sst2") == storage_of(study) == storage_of("studies/sst2.yaml") == (url, "sst2")
    study.write_text("study: other\nstorage: sqlite:///here.db\nteacher: ${NOT_SET}")  # the rest is not looked at
    assert storage_of("sst2") == (f"sqlite:///{study.parent}/here.db", "other")
    here = f"sqlite:///{tmp_path}/a.db"
    assert storage_of("sst2", "sqlite:///a.db") == (here, "other")
    assert storage_of("stored", "sqlite:///a.db") == (here, "stored")
    assert storage_of("stored", "postgresql://u@h/d").url == "postgresql://u@h/d"
    study.write_text("storage: ${NOT_SET}")
    assert storage_of("sst2", "sqlite:///a.db") == (here, "sst2")
    with pytest.raises(UsageError, match=r"sst2.yaml: storage: \$\{NOT_SET\} is not set"):
        storage_of("sst2")
    assert study_file("sst2") == Path("studies/sst2.yaml")
    with pytest.raises(UsageError, match=r"ss2: there is no studies/ss2.yaml.*--storage to look in; available: sst2"):
        storage_of("ss2")
    with pytest.raises(UsageError, match="no such study file"):
        storage_of("studies/ss2.yaml", "sqlite:///a.db")
    with pytest.raises(UsageError, match="--storage: an SQLAlchemy URL"):
        storage_of("sst2", "a.db")


def test_storage_option_is_relative_to_the_working_folder(study: Path, tmp_path: Path) -> None:
    assert read_plan(study, storage="sqlite:///a.db").storage == f"sqlite:///{tmp_path}/a.db"


def test_storage_url_keeps_driver_and_query(tmp_path: Path) -> None:
    assert (
        storage_url("sqlite+pysqlite:///../a.db?x=1", tmp_path / "b", "s") == f"sqlite+pysqlite:///{tmp_path}/a.db?x=1"
    )
    assert storage_url("sqlite:////abs/a.db", tmp_path, "s") == "sqlite:////abs/a.db"
    assert storage_url("mysql+pymysql://u:p@h/d", tmp_path, "s") == "mysql+pymysql://u:p@h/d"


def test_check_storage_refuses_what_cannot_be_written(tmp_path: Path) -> None:
    check_storage(f"sqlite:///{tmp_path}/new/study.db")
    assert list((tmp_path / "new").iterdir()) == []  # the folder is made, nothing is left in it
    check_storage("postgresql://somewhere/else")
    (tmp_path / "notes.txt").write_text("these are my notes")
    with pytest.raises(UsageError, match=r"notes.txt exists and is not an SQLite database; name another file"):
        check_storage(f"sqlite:///{tmp_path}/notes.txt")
    with pytest.raises(UsageError, match=r"storage: the folder .*notes.txt cannot be written: .*; name another one"):
        check_storage(f"sqlite:///{tmp_path}/notes.txt/study.db")
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        check_storage(f"sqlite:///{tmp_path}")
    with pytest.raises(UsageError, match="cannot be written"):
        check_storage("sqlite:////proc/nowhere/study.db")
    (tmp_path / "empty.db").touch()
    check_storage(f"sqlite:///{tmp_path}/empty.db")
