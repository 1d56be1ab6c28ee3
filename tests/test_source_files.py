"""A study notices that its teacher or its rows changed on the disk since it was begun."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from autocompress.actions.locate import locate
from autocompress.config import read_plan
from autocompress.data.source_files import changed_sources, describe_sources
from autocompress.interfaces.cli import main
from tests.conftest import Searched
from tests.tiny import tiny_data, tiny_rows, tiny_study, write_rows


@pytest.fixture
def study(searched: Searched, tmp_path: Path) -> Path:
    """A copy of the searched study; its file."""
    return Path(shutil.copytree(searched.folder, tmp_path / "study")) / searched.file.name


def test_only_other_contents_count_as_a_change(tmp_path: Path) -> None:
    plan = read_plan(tiny_study(tmp_path))
    known = json.loads(json.dumps(describe_sources(plan)))  # as the database keeps it
    assert set(known) == {"teacher.model", "task.data.train", "task.data.validation", "task.data.test"}
    assert changed_sources(plan, known) == {}
    os.utime(tmp_path / "data" / "train.csv", (1, 1))
    os.utime(tmp_path / "teacher" / "model.safetensors", (1, 1))
    assert changed_sources(plan, known) == {}
    with (tmp_path / "data" / "test.csv").open("a", encoding="utf-8") as file:
        file.write("one more,1\n")
    (tmp_path / "teacher" / "vocab.txt").write_text("new")
    (tmp_path / "teacher" / "tokenizer_config.json").unlink()
    assert changed_sources(plan, known) == {
        "teacher.model": ["tokenizer_config.json", "vocab.txt"],
        "task.data.test": ["test.csv"],
    }
    assert changed_sources(plan, {}) == {}  # a study of before this was recorded


@pytest.mark.parametrize("source", ["rows", "rows/*.csv"])
def test_files_of_a_folder_or_pattern_are_told_apart(tmp_path: Path, source: str) -> None:
    data = {**tiny_data(tmp_path / "data"), "train": source}
    for name in ("a", "b"):
        write_rows(tmp_path / "rows" / f"{name}.csv", tiny_rows(20))
    plan = read_plan(tiny_study(tmp_path, task={"data": data, "max_tokens": 32}))
    known = describe_sources(plan)
    assert set(known["task.data.train"]) == {"a.csv", "b.csv"}
    write_rows(tmp_path / "rows" / "b.csv", tiny_rows(21))
    write_rows(tmp_path / "rows" / "c.csv", tiny_rows(20))
    assert changed_sources(plan, known) == {"task.data.train": ["b.csv", "c.csv"]}


def test_files_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_rows(tmp_path / "rows" / folder / "part.csv", tiny_rows(20))
    data = {**tiny_data(tmp_path / "data"), "train": "rows/*/part.csv"}
    plan = read_plan(tiny_study(tmp_path, task={"data": data, "max_tokens": 32}))
    known = describe_sources(plan)
    write_rows(tmp_path / "rows" / "a" / "part.csv", tiny_rows(21))
    assert changed_sources(plan, known) == {"task.data.train": ["a/part.csv"]}


def test_front_and_its_json_warn_of_a_change(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    located = locate(str(study), None)
    before = located.view()
    assert located.checked_view() == before
    write_rows(study.parent / "data" / "train.csv", tiny_rows(250))
    assert main(["front", str(study), "--json"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert warning == (
        "task.data.train changed since the study was begun (train.csv); the study describes what was there before; to bring a"
        " chosen model up to date, restore that, and give the new files to `autocompress refresh`"
    )
    assert main(["front", str(study)]) == 0
    assert "train.csv" in capsys.readouterr().out
    assert located.view() == before
    study.unlink()  # without the study file nothing can be compared
    assert locate("tiny", before_url := f"sqlite:///{study.parent / 'tiny' / 'study.db'}").checked_view() == before, (
        before_url
    )


def test_a_search_does_not_go_on_with_another_teacher(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = study.parent / "teacher" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert main(["search", str(study), "--trials", "9", "--offline"]) == 2
    message = capsys.readouterr().err
    assert "teacher.model: model.safetensors changed since study 'tiny' was begun; restore the model" in message
    assert "`refresh`" in message
