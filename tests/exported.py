"""Fixtures of a searched study and an exported trial of it, for the tests of what a user exports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autocompress.actions.locate import locate
from autocompress.interfaces.cli import main
from autocompress.study import StudyView
from tests.conftest import Searched


@pytest.fixture(scope="session")
def view(searched: Searched) -> StudyView:
    """The study as its search left it."""
    return locate(str(searched.file), None).view()


@pytest.fixture(scope="session")
def best(view: StudyView) -> int:
    """A trial of the front."""
    return view.front[0].trial


@pytest.fixture(scope="session")
def exported(searched: Searched, best: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial of the front, exported; tests must not change it."""
    to = tmp_path_factory.mktemp("exported") / "model"
    assert main(["export", str(searched.file), "--trial", str(best), "--to", str(to), "-q"]) == 0
    return to


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of the export that a test may change."""
    return Path(shutil.copytree(exported, tmp_path / "copied"))
