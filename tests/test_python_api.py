"""The Python API: a search, its handle, and reading without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import autocompress
from autocompress import NothingFits, TrialRow, UsageError, benchmarking
from autocompress.actions import measure_folder
from autocompress.actions.verify import verify_folder
from autocompress.interfaces.study_handle import StudyHandle
from autocompress.search import supervisor
from autocompress.study import read_study
from tests.conftest import ROOT, Searched
from tests.tiny import tiny_study

READ = """
import sys
import autocompress

study = autocompress.open_study(sys.argv[1], "tiny")
assert study.front() and study.trials()[0].trial == 0
assert study.pick(max_drop=0.5).state == "complete"
plan = autocompress.read_plan(sys.argv[2])
loaded = {"torch", "transformers", "optuna", "onnxruntime"} & set(sys.modules)
assert not loaded, loaded
"""
SEARCH = """
import sys
import autocompress

study = autocompress.search(sys.argv[1], offline=True)
assert study.end.trials == 1 and not study.end.interrupted, study.end
print(study.pick(max_drop=1).trial)
"""


@pytest.fixture
def url(searched: Searched) -> str:
    return f"sqlite:///{searched.folder / 'tiny' / 'study.db'}"


@pytest.fixture
def study(url: str) -> StudyHandle:
    return autocompress.open_study(url, "tiny")


def test_reading_a_study_loads_neither_torch_nor_optuna(searched: Searched, url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", READ, url, str(searched.file)], env=environment, check=True)


@pytest.mark.slow
def test_a_script_searches_without_a_main_guard_and_prints_nothing(tmp_path: Path) -> None:
    file = tiny_study(tmp_path, budget={"trials": 1}, constraints={})
    (tmp_path / "script.py").write_text(SEARCH)
    command = [sys.executable, str(tmp_path / "script.py"), str(file)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("0\n", "1\n") and done.stderr == ""


def test_search_shows_progress_where_a_display_is_given(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def run_search(plan: object, **options: object) -> str:
        given.update(options, plan=plan)
        return "the end"

    monkeypatch.setattr(supervisor, "run_search", run_search)
    display, plan = object(), autocompress.read_plan(searched.file, ["seed=7"])
    study = autocompress.search(plan, display=display)  # type: ignore[arg-type]  # it is only passed on
    assert given == {"plan": plan, "display": display, "offline": False}
    assert (study.name, study.url, study.end) == (plan.study, plan.storage, "the end")


def test_search_stays_the_function_after_the_subpackage_is_imported() -> None:
    code = "import autocompress.search.supervisor, autocompress; assert autocompress.search.__name__ == 'search'"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)


def test_front_and_trials_are_the_rows_of_the_study(study: StudyHandle, url: str) -> None:
    view = read_study(url, "tiny")
    assert study.front() == view.front
    assert [row.trial for row in study.trials()] == [row.trial for row in view.rows]
    assert all(isinstance(row, TrialRow) for row in study.trials())
    assert all(row.reason for row in study.trials()[1:] if row.state != "complete" or row.rung != 2)


def test_pick_replaces_the_constraints_of_the_study(study: StudyHandle) -> None:
    smallest = study.pick(max_drop=1.0, prefer="size_mb")
    assert smallest.size_mb == min(row.size_mb for row in study.trials() if row.size_mb is not None)
    with pytest.raises(NothingFits, match="max_size_mb"):
        study.pick(max_size_mb=1e-6)


def test_exported_model_is_measured_and_verified(
    study: StudyHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_folder, "TIMING", benchmarking.QUICK_TIMING)
    row = study.front()[0]
    exported = study.export(row, tmp_path / "model")
    assert (exported.trial, exported.sha256) == (row.trial, row.sha256)
    assert verify_folder(tmp_path / "model").passed
    measured = autocompress.measure(tmp_path / "model", tmp_path / "model", tokens=4)
    assert measured.compression == 1.0 and measured.conditions["tokens"] == 4
    with pytest.raises(UsageError, match="not empty"):
        study.export(row.trial, tmp_path / "model")


def test_export_of_weights_needs_the_plan(searched: Searched, study: StudyHandle, url: str, tmp_path: Path) -> None:
    trial = study.front()[-1].trial
    with pytest.raises(UsageError, match="needs the study file"):
        study.export(trial, tmp_path / "weights", form="transformers")
    with_plan = autocompress.open_study(url, "tiny", plan=searched.file)
    with_plan.export(trial, tmp_path / "weights", form="transformers")
    weights = [value.detach().numpy() for value in autocompress.load_model(tmp_path / "weights").parameters()]
    assert weights and all(np.isfinite(value).all() for value in weights)


def test_a_plan_that_the_study_was_not_begun_with_is_refused(searched: Searched, url: str, tmp_path: Path) -> None:
    other = autocompress.read_plan(searched.file, ["seed=7"])
    study = autocompress.open_study(url, "tiny", plan=other)
    with pytest.raises(UsageError, match=r"^tiny\.yaml: seed: study 'tiny' was begun with another value"):
        study.export(study.front()[0], tmp_path / "weights", form="transformers")


def test_open_study_names_what_is_there(url: str) -> None:
    with pytest.raises(UsageError, match=r"no study 'other' in .*; available: tiny"):
        autocompress.open_study(url, "other")
    with pytest.raises(UsageError, match="url: an SQLAlchemy URL is needed"):
        autocompress.open_study("study.db", "tiny")
