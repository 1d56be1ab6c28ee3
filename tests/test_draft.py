"""A study file for a model and data that nobody described: it must work as it is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from autocompress.actions.study_template import GuessedColumns, guess_columns, split_files
from autocompress.config import read_plan
from autocompress.core.errors import UsageError
from autocompress.data.files import SourceReader, column_names
from autocompress.interfaces.cli import main
from tests.tiny import tiny_data, tiny_rows, tiny_teacher, write_rows

NOTHING = {"text": None, "pair": None, "label": None}


@pytest.mark.slow
def test_what_init_writes_can_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_teacher(tmp_path / "model")
    tiny_data(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert main(["init", "model", "data", "--to", "studies/mine.yaml", "--offline"]) == 0
    told = capsys.readouterr().err
    assert "240 training rows; text: text; label: label, with 2 values" in told
    assert "search studies/mine.yaml" in told
    plan = read_plan(Path("studies/mine.yaml"))
    assert plan.teacher.model == str(tmp_path / "model") and plan.teacher.fine_tune is None
    assert plan.task.data.test == str(tmp_path / "data" / "test.csv")
    assert plan.task.max_tokens % 8 == 0 and plan.device.tokens == "data"
    assert main(["init", "model", "data", "--to", "studies/mine.yaml"]) == 2
    assert "this file is there already" in capsys.readouterr().err
    changes = ["--set", "space={weight_bits: [8, 32], embedding_bits: 8}", "--trials", "1", "--offline", "-q"]
    assert main(["search", "studies/mine.yaml", *changes]) == 0


def test_a_model_without_a_classifier_is_fine_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForSequenceClassification

    tiny_teacher(tmp_path / "model")
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").bert.save_pretrained(tmp_path / "model")
    write_rows(tmp_path / "rows.csv", tiny_rows(1000, pairs=True))
    monkeypatch.chdir(tmp_path)
    assert main(["init", "model", "rows.csv", "--offline"]) == 0
    plan = read_plan(Path("study.yaml"))
    assert plan.teacher.fine_tune is not None
    assert plan.task.columns.text_pair == "text_pair"
    assert (plan.task.data.validation, plan.task.data.test) == (None, None)


SENTENCES = [f"this is sentence number {number}" for number in range(40)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"id": range(40), "review": SENTENCES, "target": [0, 1] * 20},
            GuessedColumns(text="review", pair=None, label="target"),
        ),
        (
            {"label": [0, 1] * 20, "hypothesis": SENTENCES, "premise": SENTENCES},
            GuessedColumns(text="premise", pair="hypothesis", label="label"),
        ),
        ({"what": SENTENCES, "kind": ["a", "b"] * 20}, GuessedColumns(text="what", pair=None, label="kind")),
    ],
)
def test_columns_are_guessed_by_their_names_and_by_what_is_in_them(
    values: dict[str, Any], expected: GuessedColumns
) -> None:
    assert guess_columns({name: list(column) for name, column in values.items()}, NOTHING) == expected


def test_what_cannot_be_guessed_can_be_said() -> None:
    values = {"one": SENTENCES, "two": list(reversed(SENTENCES)), "kind": ["a", "b"] * 20}
    given = {"text": "two", "pair": "one", "label": "kind"}
    assert guess_columns(values, given) == GuessedColumns(text="two", pair="one", label="kind")
    with pytest.raises(UsageError, match="--label: there is no column 'kinds'; available: one, two, kind"):
        guess_columns(values, {**NOTHING, "label": "kinds"})
    with pytest.raises(UsageError, match="no column looks like a label; say which one is: --label NAME"):
        guess_columns({"one": SENTENCES}, NOTHING)
    with pytest.raises(UsageError, match="no column looks like a text; say which one is: --text NAME"):
        guess_columns({"label": [0, 1] * 20}, NOTHING)


def test_a_folder_says_by_its_names_which_file_is_which(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv", "test-00000.csv", "notes.txt"):
        (tmp_path / name).write_text("text,label\na,1\n")
    found = split_files(tmp_path)
    assert {split: file.name for split, file in found.items()} == {
        "train": "train.csv", "validation": "dev.csv", "test": "test-00000.csv",
    }  # fmt: skip
    (tmp_path / "train.csv").unlink()
    with pytest.raises(UsageError, match=r"no file whose name begins with train \(dev.csv, test-00000.csv\)"):
        split_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sst2", GuessedColumns(text="sentence", pair=None, label="label")),
        ("trec", GuessedColumns(text="text", pair=None, label="label")),
        ("mrpc", GuessedColumns(text="sentence1", pair="sentence2", label="label")),
        ("imdb", GuessedColumns(text="text", pair=None, label="label")),
        ("banking77", GuessedColumns(text="text", pair=None, label="label")),
    ],
)
def test_columns_of_real_data(name: str, expected: GuessedColumns) -> None:
    folder = os.environ.get("AUTOCOMPRESS_DATA")
    if not folder:
        pytest.skip("AUTOCOMPRESS_DATA names no folder with real data sets")
    file = Path(folder) / name / "train.parquet"
    values = next(iter(SourceReader("DATA", (), tuple(column_names(file))).local(file))).columns
    assert guess_columns(values, NOTHING) == expected
