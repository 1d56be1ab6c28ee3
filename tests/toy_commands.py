"""Fixtures of a study whose trials a formula answered, and a way to run commands on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autocompress.core.trial_row import Outcome
from autocompress.interfaces.cli import main
from tests.formula import open_study, search, teacher_outcome


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of 18 trials that a formula answered, one failed and one stopped; tests must not change it."""
    folder = tmp_path_factory.mktemp("toy")
    study = open_study(folder)
    with study.lease():
        study.record_teacher(teacher_outcome())
        for state, reason in (("failed", "the worker was killed by SIGKILL"), ("stopped", "too large; not trained")):
            asked = study.ask()
            study.tell(asked.number, asked.recipe, Outcome(state=state, reason=reason))
        search(study, 18)
    return folder


@pytest.fixture
def command(toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command on the toy study: (exit code, stdout, stderr)."""

    def run(name: str, *options: object) -> tuple[int, str, str]:
        code = main([name, "toy", "--storage", f"sqlite:///{toy_folder / 'study.db'}", *map(str, options)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
