"""Comparing two trials on the same test rows, and two studies by their fronts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from autocompress.interfaces.cli import main
from autocompress.study import StudyView
from tests.conftest import Searched

pytest_plugins = ["tests.exported"]


def test_compare_trials_on_the_same_rows(
    searched: Searched, view: StudyView, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = 0, view.front[0].trial
    assert main(["compare", f"{searched.file}:{a}", str(b), "--json"]) == 0
    comparison = json.loads(capsys.readouterr().out)
    row = view.row(b)
    assert (comparison["a"]["trial"], comparison["b"]["trial"]) == (a, b)
    assert comparison["quality_b"] == pytest.approx(row.test_quality)
    assert comparison["drop"] == pytest.approx(row.test_drop)
    assert comparison["drop_interval"] == pytest.approx(row.test_drop_interval)
    assert comparison["only_a_right"] - comparison["only_b_right"] == round(comparison["drop"] * comparison["examples"])
    assert comparison["faster"] == pytest.approx(row.speedup)
    assert comparison["smaller"] == pytest.approx(row.compression)
    assert main(["compare", f"{searched.file}:{b}", f"{searched.file}:{a}", "--json"]) == 0
    back = json.loads(capsys.readouterr().out)
    assert (back["drop"], back["p_value"]) == (pytest.approx(-comparison["drop"]), comparison["p_value"])
    assert back["faster"] == pytest.approx(1 / comparison["faster"])
    assert main(["compare", f"{searched.file}:{a}", str(b)]) == 0
    printed = capsys.readouterr().out
    assert f"B: trial {b}, {row.describe()}" in printed and "McNemar" in printed


def test_compare_studies_by_their_fronts(
    searched: Searched, view: StudyView, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(searched.file), str(searched.file), "--json"]) == 0
    comparison = json.loads(capsys.readouterr().out)
    assert comparison["coverage_a"] == comparison["coverage_b"] == 1.0 and comparison["same_teacher"]
    assert comparison["hypervolume_a"] == comparison["hypervolume_b"]
    assert all(choice["a"] == choice["b"] for choice in comparison["choices"])
    assert main(["compare", str(searched.file), str(searched.file)]) == 0
    printed = capsys.readouterr().out
    assert f"A: {view.name}, {len(view.front)} model" in printed and "pick chooses" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny", "1"), "is not STUDY:TRIAL"),
        (("{file}:9999", "1"), "no trial 9999"),
        (("{file}:0", "x:y"), "STUDY:TRIAL"),
    ],
)
def test_compare_rejects_wrong_arguments(
    searched: Searched, arguments: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *(argument.format(file=searched.file) for argument in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_compare_rejects_different_test_rows(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    test = folder / "data" / "test.csv"
    head, first, *rest = test.read_text(encoding="utf-8").splitlines()
    test.write_text("\n".join([head, f"other {first}", *rest]) + "\n", encoding="utf-8")
    assert main(["compare", f"{searched.file}:0", f"{folder / 'tiny.yaml'}:0"]) == 2
    assert "(80 rows) are not the same" in capsys.readouterr().err
