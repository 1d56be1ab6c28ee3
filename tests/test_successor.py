"""The study that follows one whose teacher is at fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import autocompress
from autocompress.actions.successor import write_successor
from autocompress.config import AutoFineTune, read_plan
from autocompress.core.teacher_warning import TeacherWarning, successor_name
from autocompress.study import read_study
from tests.conftest import run_cli
from tests.formula import open_study, teacher_outcome
from tests.tiny import tiny_study

BAD = {"epochs": 0.2, "learning_rate": 1e-7}


@pytest.mark.parametrize(
    ("name", "following"), [("sst2", "sst2-2"), ("sst2-2", "sst2-3"), ("a-9", "a-10"), ("x-y", "x-y-2")]
)
def test_successor_name(name: str, following: str) -> None:
    assert successor_name(name) == following


@pytest.mark.parametrize(
    ("fine_tune", "expected"),
    [
        (BAD, AutoFineTune()),
        ({**BAD, "silver_pairs": 40}, AutoFineTune(silver_pairs=40)),
        ({"auto": True, "time": 90.0}, AutoFineTune(time=180)),
        ({"auto": True, "time": None}, None),  # nothing better is in sight
    ],
)
def test_the_successor_has_better_settings_and_the_same_database(
    tmp_path: Path, fine_tune: dict[str, Any], expected: AutoFineTune | None
) -> None:
    file = tiny_study(tmp_path, teacher={"model": "./teacher", "fine_tune": fine_tune, "improve": True})
    plan = read_plan(file)
    with open_study(tmp_path, storage=plan.storage).lease():
        pass
    view = read_study(plan.storage, "toy")
    stored = {**view.plan, "teacher": {"fine_tune": fine_tune}}
    assert write_successor(file, plan, replace(view, plan=stored)) is None  # nothing is wrong
    warning = TeacherWarning(finding="the teacher is bad", remedy="train it")
    written = write_successor(file, plan, replace(view, plan=stored, warnings=(warning,)))
    if expected is None:
        assert written is None
        return
    assert written == tmp_path / "tiny-2.yaml" and "# the teacher is bad.\n" in written.read_text()
    better = read_plan(written)
    assert (better.study, better.storage) == ("tiny-2", plan.storage)
    assert better.artifacts.path != plan.artifacts.path
    assert better.teacher.fine_tune == expected and not better.teacher.improve
    assert better.task == plan.task and better.space == plan.space


def test_improve_may_be_added_to_a_study_that_exists(tmp_path: Path) -> None:
    file = tiny_study(tmp_path)
    stored = read_plan(file).identity()
    assert read_plan(file, ["teacher.improve=true"]).difference(stored) == []


@pytest.mark.slow
def test_a_search_goes_on_with_a_better_teacher(tmp_path: Path) -> None:
    teacher = {"model": "./teacher", "fine_tune": BAD, "improve": True}
    file = tiny_study(tmp_path, teacher=teacher, budget={"trials": 2, "time": "60s"}, space={"weight_bits": [32, 8]})
    printed = run_cli("search", file, "--offline", cwd=tmp_path)
    assert "teacher.improve: the search goes on with a better teacher" in printed.stderr
    url = read_plan(file).storage
    old, new = read_study(url, "tiny"), read_study(url, "tiny-2")
    assert old.warnings and not new.warnings
    assert old.teacher is not None and new.teacher is not None
    assert (new.teacher.quality or 0) > (old.teacher.quality or 0) + 0.1
    assert {row.recipe for row in old.front} <= {row.recipe for row in new.rows}  # enqueued
    again = run_cli("search", file, "--offline", cwd=tmp_path)  # both have met their budgets
    assert "the front of study tiny-2" in again.stdout
    assert read_study(url, "tiny").rows == old.rows
    assert autocompress.search(file, offline=True).name == "tiny-2"
    assert run_cli("compare", f"{file}", tmp_path / "tiny-2.yaml", cwd=tmp_path).stdout.count("different teachers") == 1


def test_the_teacher_of_a_study_without_trials_is_no_fault(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with study.lease():
        study.record_teacher(teacher_outcome())
    assert read_study(study.plan.storage, "toy").warnings == ()
