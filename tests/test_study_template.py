"""Writing a study file for a model and data: guessed columns, fine-tuning settings, and a file that works as written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from autocompress.actions.inspect_data import recognize_task, split_files
from autocompress.config import AutoFineTune, read_plan
from autocompress.core.errors import UsageError
from autocompress.data.file_formats import SourceReader, column_names
from autocompress.interfaces.cli import main
from autocompress.tasks._recognition import GuessedColumns, guess_columns
from tests.tiny import tiny_data, tiny_rows, tiny_teacher, write_rows
from tests.tiny_embeddings import tiny_encoder, tiny_pairs

NOTHING = {"text": None, "pair": None, "label": None}


@pytest.mark.slow
def test_init_writes_a_study_that_can_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_teacher(tmp_path / "model")
    tiny_data(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert main(["init", "model", "data", "--to", "studies/mine.yaml", "--offline"]) == 0
    printed = capsys.readouterr().err
    assert "240 training rows; text: text; label: label, with 2 values" in printed
    assert "search studies/mine.yaml" in printed
    plan = read_plan(Path("studies/mine.yaml"))
    assert plan.teacher.model == str(tmp_path / "model") and plan.teacher.fine_tune is None
    assert plan.task.data.test == str(tmp_path / "data" / "test.csv")
    assert plan.task.max_tokens % 8 == 0 and plan.device.tokens == "data"
    assert main(["init", "model", "data", "--to", "studies/mine.yaml"]) == 2
    assert "the file exists" in capsys.readouterr().err
    changes = ["--set", "space={weight_bits: [8, 32], embedding_bits: 8}", "--trials", "1", "--offline", "-q"]
    assert main(["search", "studies/mine.yaml", *changes]) == 0


def test_init_fine_tunes_a_model_without_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForSequenceClassification

    tiny_teacher(tmp_path / "model")
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").bert.save_pretrained(tmp_path / "model")
    write_rows(tmp_path / "rows.csv", tiny_rows(1000, pairs=True))
    monkeypatch.chdir(tmp_path)
    assert main(["init", "model", "rows.csv", "--offline"]) == 0
    plan = read_plan(Path("study.yaml"))
    assert plan.teacher.fine_tune == AutoFineTune() and plan.task.data.max_train_rows is None
    assert "  fine_tune: auto\n" in Path("study.yaml").read_text()
    assert plan.task.columns["text_pair"] == "text_pair"
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
def test_guess_columns_by_name_and_content(values: dict[str, Any], expected: GuessedColumns) -> None:
    assert guess_columns({name: list(column) for name, column in values.items()}, NOTHING) == expected


def test_guess_columns_prefers_options() -> None:
    values = {"one": SENTENCES, "two": list(reversed(SENTENCES)), "kind": ["a", "b"] * 20}
    options = {"text": "two", "pair": "one", "label": "kind"}
    assert guess_columns(values, options) == GuessedColumns(text="two", pair="one", label="kind")
    with pytest.raises(UsageError, match=r"--label: no column 'kinds' \(available: one, two, kind\)"):
        guess_columns(values, {**NOTHING, "label": "kinds"})
    with pytest.raises(UsageError, match="no column looks like a label; name it with --label COLUMN"):
        guess_columns({"one": SENTENCES}, NOTHING)
    with pytest.raises(UsageError, match="no column looks like a text; name it with --text COLUMN"):
        guess_columns({"label": [0, 1] * 20}, NOTHING)


@pytest.mark.parametrize(
    ("values", "task", "columns"),
    [
        ({"review": SENTENCES, "target": [0, 1] * 20}, "text-classification", {"text": "review", "label": "target"}),
        (
            {"sentence1": SENTENCES, "sentence2": SENTENCES, "score": [0.25, 4.0] * 20, "genre": ["a", "b"] * 20},
            "regression",
            {"text": "sentence1", "text_pair": "sentence2", "label": "score"},
        ),
        ({"text": SENTENCES, "label": [1.0, 0.0] * 20}, "text-classification", {"text": "text", "label": "label"}),
    ],
)
def test_recognize_task_by_its_labels(values: dict[str, Any], task: str, columns: dict[str, str]) -> None:
    found, recognized = recognize_task(values, NOTHING)
    assert found.name == task
    assert {role: name for role, name in recognized.columns.items() if name} == columns


def test_init_writes_a_study_of_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_teacher(tmp_path / "model")
    rows = [{**row, "score": row["label"] * 2.5 + 0.25} for row in tiny_rows(300)]
    write_rows(tmp_path / "rows.csv", [{"text": row["text"], "score": row["score"]} for row in rows])
    monkeypatch.chdir(tmp_path)
    assert main(["init", "model", "rows.csv", "--offline"]) == 0
    printed = capsys.readouterr().err
    assert "label: score, numbers from 0.25 to 2.75" in printed
    assert "the model has no regression head, so it is fine-tuned first" in printed
    plan = read_plan(Path("study.yaml"))
    assert (plan.task.kind, plan.task.metric, plan.task.columns["label"]) == ("regression", "spearman", "score")
    assert plan.teacher.fine_tune is not None and plan.teacher.fine_tune.silver_pairs is None


def test_init_lets_a_model_of_embeddings_rate_pairs_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_encoder(tmp_path / "encoder")
    tiny_teacher(tmp_path / "classifier", "electra")
    write_rows(tmp_path / "pairs.csv", tiny_pairs(300, 0))
    monkeypatch.chdir(tmp_path)
    found = {}
    for model in ("encoder", "classifier"):
        choices = ["--task", "regression", "--text", "first", "--pair", "second", "--to", f"{model}.yaml"]
        assert main(["init", model, "pairs.csv", *choices, "--offline"]) == 0
        found[model] = read_plan(Path(f"{model}.yaml")).teacher.fine_tune
    assert [tuned and tuned.silver_pairs for tuned in found.values()] == [1200, None]


def test_split_files_by_name(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv", "test-00000.csv", "notes.txt"):
        (tmp_path / name).write_text("text,label\na,1\n")
    splits = split_files(tmp_path)
    assert {split: file.name for split, file in splits.items()} == {
        "train": "train.csv", "validation": "dev.csv", "test": "test-00000.csv",
    }  # fmt: skip
    (tmp_path / "train.csv").unlink()
    with pytest.raises(
        UsageError, match=r"no file whose name begins with train \(available: dev.csv, test-00000.csv\)"
    ):
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
def test_guess_columns_of_real_data(name: str, expected: GuessedColumns) -> None:
    folder = os.environ.get("AUTOCOMPRESS_DATA")
    if not folder:
        pytest.skip("AUTOCOMPRESS_DATA names no folder with real data sets")
    file = Path(folder) / name / "train.parquet"
    values = next(iter(SourceReader("DATA", (), tuple(column_names(file))).read_local(file))).columns
    assert guess_columns(values, NOTHING) == expected
