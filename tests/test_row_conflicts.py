"""Rows that contradict each other, and rows of a split that stand in train, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autocompress.data.ragged import Ragged
from autocompress.interfaces.cli import main
from autocompress.search.row_conflicts import describe_conflicts
from autocompress.tasks import Rows, TaskData
from tests.tiny import tiny_data, tiny_teacher


def rows(*texts: str, labels: list[int]) -> Rows:
    return Rows(texts, None, Ragged.one_each(np.array(labels)))


def data(train: Rows, validation: Rows, names: tuple[str, ...] = ("no", "yes")) -> TaskData:
    return TaskData(train, validation, rows("y", "z", labels=[0, 1]), train.take(np.arange(0)), names, "")


def test_clean_rows_give_no_sentence() -> None:
    assert describe_conflicts(data(rows("a", "b", "a", labels=[0, 1, 0]), rows("c", labels=[0]))) == []


def test_equal_texts_with_different_labels_are_counted_apart_from_case_and_spacing() -> None:
    train = rows("A  film", " a\nfilm", "b", "b", "a film", labels=[0, 1, 1, 1, 0])
    (sentence,) = describe_conflicts(data(train, rows("c", labels=[0])))
    assert sentence.startswith("1 text of train has several labels (3 rows)")


def test_texts_with_several_numbers_are_no_contradiction() -> None:
    assert describe_conflicts(data(rows("a", "a", labels=[0, 1]), rows("c", labels=[0]), names=())) == []


def test_rows_of_a_split_that_stand_in_train_are_counted() -> None:
    (sentence,) = describe_conflicts(data(rows("a", "b", labels=[0, 1]), rows("B ", "c", "d", labels=[0, 0, 0])))
    assert sentence.startswith("1 of 3 validation rows (33.3%) stand in train")


def test_pairs_are_equal_where_both_texts_are() -> None:
    def pairs(second: str) -> Rows:
        return Rows(("a",), (second,), Ragged.one_each(np.array([0])))

    assert describe_conflicts(data(pairs("x"), pairs("y"))) == []
    assert "validation rows (100.0%)" in describe_conflicts(data(pairs("x"), pairs("X")))[0]


def test_init_reports_conflicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_teacher(tmp_path / "model")
    files = {split: Path(file) for split, file in tiny_data(tmp_path / "data").items()}
    first = files["train"].read_text().splitlines()[1]
    opposite = first[:-1] + ("0" if first.endswith("1") else "1")
    with files["train"].open("a") as train, files["test"].open("a") as test:
        train.write(opposite + "\n")
        test.write(first + "\n")
    monkeypatch.chdir(tmp_path)
    assert main(["init", "model", "data", "--offline"]) == 0
    printed = capsys.readouterr().err
    assert "have several labels" in printed or "has several labels" in printed
    assert "test rows" in printed and "stand in train" in printed
