"""The task and the metric of the docs, each one file, are found, checked, searched, reported and exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.extended_package import ExtendedPackage, extend_package
from tests.test_docs import DOCS, read_blocks
from tests.tiny import tiny_rows, tiny_study, tiny_teacher, write_rows

PAGE = DOCS / "pages" / "how-to" / "add-a-task.md"


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> ExtendedPackage:
    """A copy of the package with the files of the page."""
    package = extend_package(tmp_path_factory.mktemp("extended-tasks"))
    metric, task = (block.text for block in read_blocks(PAGE) if block.language == "python")
    (package.folder / "autocompress" / "metrics" / "near_hits.py").write_text(metric, encoding="utf-8")
    (package.folder / "autocompress" / "tasks" / "star_rating.py").write_text(task, encoding="utf-8")
    return package


def write_stars(folder: Path) -> None:
    """Write rows with one to three stars."""
    for seed, (split, count) in enumerate({"train": 240, "validation": 80, "test": 80}.items()):
        rows = [{**row, "label": row["label"] + 1} for row in tiny_rows(count, seed, labels=3)]
        write_rows(folder / f"{split}.csv", rows)


def test_list_names_the_added_files(extended: ExtendedPackage) -> None:
    listed = extended.json("list")
    assert {"star-rating", "text-classification"} <= {entry["name"] for entry in listed["tasks"]}
    summaries = {entry["name"]: entry["summary"] for entry in listed["metrics"]}
    assert summaries["near_hits"] == "Fraction of labels that are at most one away from the true one, 0 to 1."


@pytest.mark.slow
def test_init_proposes_the_added_task_for_its_data(extended: ExtendedPackage, tmp_path: Path) -> None:
    tiny_teacher(tmp_path / "model", labels=3)
    write_stars(tmp_path / "data")
    extended.run("init", "model", "data", "--to", "stars.yaml", "--offline", cwd=tmp_path)
    assert "  kind: star-rating\n" in (tmp_path / "stars.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_study_of_the_added_task_runs_end_to_end(extended: ExtendedPackage, tmp_path: Path) -> None:
    write_stars(tmp_path / "stars")
    tiny_teacher(tmp_path / "teacher", labels=3)
    data = {split: f"stars/{split}.csv" for split in ("train", "validation", "test")}
    file = tiny_study(
        tmp_path, task={"kind": "star-rating", "data": data, "max_tokens": 32}, budget={"trials": 2},
        space={"depth": [1, 2], "weight_bits": [32, 8]},
    )  # fmt: skip
    extended.run("search", file.name, cwd=tmp_path)
    front = extended.json("front", file.name, cwd=tmp_path)
    assert front["teacher"]["quality"] > 0.8  # near hits are easier than hits
    extended.run("export", file.name, "--trial", 1, "--to", "out", cwd=tmp_path)
    assert json.loads((tmp_path / "out" / "recipe.json").read_text(encoding="utf-8"))["task"] == "star-rating"
    assert extended.json("verify", "out", cwd=tmp_path)["passed"]
