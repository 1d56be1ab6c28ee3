"""The rows of token classification: how they are read, which are refused, and how their columns are recognized."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from autocompress import metrics
from autocompress.actions.inspect_data import read_values, recognize_task
from autocompress.config import StudyPlan
from autocompress.core.errors import UsageError
from autocompress.data.ragged import Ragged
from autocompress.tasks._words import WordRows
from autocompress.tasks.token_classification import TASK
from tests.tiny import TAG_NAMES, tiny_tagged_rows, write_rows

Row = Mapping[str, Any]
ROWS: list[dict[str, Any]] = [
    {"tokens": ["good", "film"], "tags": ["B-POS", "O"]},
    {"tokens": ["the", "very", "bad"], "tags": ["O", "B-NEG", "I-NEG"]},
    {"tokens": ["plot"], "tags": ["O"]},
]


def plan_of(data: Mapping[str, Any], columns: Mapping[str, Any] | None = None, fine_tune: bool = True) -> StudyPlan:
    """Return a plan with these data sources; the other keys do not matter."""
    return StudyPlan.model_validate(
        {
            "study": "s", "teacher": {"model": "x", "fine_tune": {} if fine_tune else None},
            "task": {"kind": "token-classification", "data": data, "columns": columns or {}},
            "space": {}, "storage": "sqlite:///study.db", "artifacts": {"path": "artifacts"}, "seed": 3,
        }
    )  # fmt: skip


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def three_splits(folder: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    file = write_jsonl(folder / "rows.jsonl", rows)
    return {"train": file, "validation": file, "test": file}


def words_of(data: object) -> WordRows:
    assert isinstance(data, WordRows)
    return data


def test_parquet_json_jsonl_and_data_sets_hold_the_same_rows(tmp_path: Path) -> None:
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "tags": datasets.List(datasets.ClassLabel(names=TAG_NAMES))}
    )
    numbers = [{**row, "tags": [TAG_NAMES.index(tag) for tag in row["tags"]]} for row in ROWS]
    saved = datasets.Dataset.from_list(numbers, features=features)
    saved.to_parquet(tmp_path / "named.parquet")
    saved.save_to_disk(tmp_path / "saved")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    id2label = dict(enumerate(TAG_NAMES))
    sources = [
        tmp_path / "named.parquet",
        tmp_path / "saved",
        tmp_path / "rows.json",
        write_jsonl(tmp_path / "r.jsonl", ROWS),
    ]
    read = [
        TASK.read(plan_of(dict.fromkeys(("train", "validation", "test"), str(source))), id2label) for source in sources
    ]
    assert {data.fingerprint for data in read} == {read[0].fingerprint}
    assert read[0].label_names == TAG_NAMES
    assert words_of(read[0].test).words[1] == ("the", "very", "bad")
    assert read[0].test.labels.values.tolist() == [1, 0, 0, 3, 4, 0]
    assert read[0].test.labels.counts.tolist() == [2, 3, 1]


def test_numbers_of_tags_are_named_by_the_metadata_in_all_its_forms(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    label = {"names": list(TAG_NAMES), "_type": "ClassLabel"}
    rows = pa.Table.from_pylist([{"tokens": ["a", "b"], "tags": [1, 2]}])
    for feature in (
        {"feature": label, "_type": "List"},
        {"feature": label, "length": -1, "_type": "Sequence"},
        [label],
    ):
        metadata = {"huggingface": json.dumps({"info": {"features": {"tags": feature}}})}
        parquet.write_table(rows.replace_schema_metadata(metadata), tmp_path / "t.parquet")
        data = TASK.read(plan_of(dict.fromkeys(("train", "validation", "test"), str(tmp_path / "t.parquet"))))
        assert data.label_names == TAG_NAMES


def test_tags_take_the_numbers_of_the_model_by_name(tmp_path: Path) -> None:
    names = dict(enumerate(reversed(TAG_NAMES)))
    data = TASK.read(plan_of(three_splits(tmp_path, ROWS), fine_tune=False), names)
    assert data.label_names == tuple(reversed(TAG_NAMES))
    assert data.train.labels.values.tolist() == [3, 4, 4, 1, 0, 4]


def test_a_tag_may_occur_in_test_only_where_the_model_names_it(tmp_path: Path) -> None:
    data = three_splits(tmp_path, ROWS)
    data["test"] = write_jsonl(tmp_path / "test.jsonl", [{"tokens": ["fine", "fine"], "tags": ["B-POS", "I-POS"]}])
    assert TASK.read(plan_of(data), dict(enumerate(TAG_NAMES))).test.labels.values.tolist() == [1, 2]
    with pytest.raises(
        UsageError, match=r"test.jsonl, row 1: train has no row with label 'I-POS'; available: B-NEG, B-POS"
    ):
        TASK.read(plan_of(data))


def test_unlabelled_rows_are_lists_of_words_or_texts(tmp_path: Path) -> None:
    data = three_splits(tmp_path, ROWS)
    lists = write_jsonl(
        tmp_path / "more.jsonl", [{"tokens": ["new", "words"]}, {"tokens": ["Good", "film"]}, {"tokens": []}]
    )
    read = TASK.read(plan_of({**data, "unlabelled": lists}))
    assert words_of(read.unlabelled).words == (("new", "words"),)  # `good film` is a row of train
    assert read.unlabelled.labels.values.tolist() == [-100, -100]
    (tmp_path / "more.csv").write_text("text\n new  words\nand others\n")
    texts = {**data, "unlabelled": str(tmp_path / "more.csv")}
    read = TASK.read(plan_of(texts, {"text": "text"}))
    assert words_of(read.unlabelled).words == (("new", "words"), ("and", "others"))


def test_absent_splits_and_samples_keep_the_proportion_of_rows_with_entities(tmp_path: Path) -> None:
    rows = [{"tokens": [f"w{n}", "x"], "tags": ["B-POS" if n % 4 == 0 else "O", "O"]} for n in range(1000)]
    data = TASK.read(plan_of({"train": write_jsonl(tmp_path / "a.jsonl", rows), "max_train_rows": 200}))
    assert len(data.train) == 200
    for split in (data.train, data.validation, data.test):
        assert (split.labels.values != data.label_names.index("O")).sum() / len(split) == pytest.approx(0.25, abs=0.01)
    texts = {text for split in (data.train, data.validation, data.test) for text in split.texts}
    assert len(texts) == len(data.train) + len(data.validation) + len(data.test)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "row 4: tokens has 2 words, but tags has 1 tags; every word needs one tag"),
        ({"tokens": [], "tags": []}, "row 4: tokens is an empty list; remove the row"),
        ({"tokens": "a b", "tags": ["O"]}, "row 4: tokens must be a list of words, but is 'a b'; csv files cannot hold lists"),
        ({"tokens": ["a"], "tags": None}, "row 4: tags must be a list of tags, but is None"),
        ({"tokens": ["a", None], "tags": ["O", "O"]}, "row 4: tokens must hold words only, but has None"),
        ({"tokens": ["a"], "tags": [3]}, "row 4: tags mixes names and numbers: 3 and 'B-POS'; use one kind"),
        ({"tokens": ["a"], "tags": ["B-XYZ"]}, "the model has no label 'B-XYZ'"),
    ],
)  # fmt: skip
def test_wrong_rows_are_refused_with_row_and_value(tmp_path: Path, row: Row, message: str) -> None:
    data = three_splits(tmp_path, [*ROWS, dict(row)])
    with pytest.raises(UsageError) as caught:
        TASK.read(plan_of(data, fine_tune=False), dict(enumerate(TAG_NAMES)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_tag_number_and_a_csv_file_are_refused(tmp_path: Path) -> None:
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "tags": datasets.List(datasets.Value("int64"))}
    )
    datasets.Dataset.from_list([{"tokens": ["a", "b"], "tags": [0, 7]}], features=features).to_parquet(
        tmp_path / "n.parquet"
    )
    numbers = dict.fromkeys(("train", "validation", "test"), str(tmp_path / "n.parquet"))
    with pytest.raises(UsageError, match="the model has 5 labels, 0 to 4, but train has 0, 7"):
        TASK.read(plan_of(numbers, fine_tune=False), dict(enumerate(TAG_NAMES)))
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["tokens", "tags"], ["['a']", "['O']"]])
    with pytest.raises(
        UsageError, match=r"rows.csv, row 1: tokens must be a list of words.* so use parquet, json or jsonl"
    ):
        TASK.read(plan_of(dict.fromkeys(("train", "validation", "test"), str(tmp_path / "rows.csv"))))


def test_columns_of_words_and_tags_are_recognized_among_others(tmp_path: Path) -> None:
    rows = [{"id": str(n), "pos_tags": ["X"] * len(row["tokens"]), "sentence": " ".join(row["tokens"]), "ner_tags": row["tags"],
             "words": row["tokens"], "label": n % 2} for n, row in enumerate(tiny_tagged_rows(30))]  # fmt: skip
    values = read_values(write_rows(tmp_path / "rows.parquet", rows))
    task, recognized = recognize_task(values, {})
    assert (task.name, recognized.columns) == ("token-classification", {"tokens": "words", "tags": "ner_tags"})
    assert task.describe_labels(values, recognized).metric == "entity_f1"
    named = recognize_task(values, {"label": "pos_tags"})[1]
    assert named.columns["tags"] == "pos_tags"
    assert task.describe_labels(values, named).metric == "accuracy"
    with pytest.raises(UsageError, match="no two columns hold lists of words and of their tags"):
        TASK.recognize(
            {name: column for name, column in values.items() if name != "words"} | {"ner_tags": [1] * 30}, {}
        )


def test_every_word_of_conll2003_is_read(tmp_path: Path) -> None:
    folder = Path(os.environ.get("AUTOCOMPRESS_DATA", "")) / "conll2003"
    if not (folder / "train.parquet").is_file():
        pytest.skip("AUTOCOMPRESS_DATA names no folder with conll2003")
    files = {split: folder / f"{split}.parquet" for split in ("train", "validation", "test")}
    values = read_values(files["train"])
    task, recognized = recognize_task(values, {})
    assert (task.name, recognized.columns) == ("token-classification", {"tokens": "tokens", "tags": "ner_tags"})
    assert task.describe_labels(values, recognized).metric == "entity_f1"
    data = TASK.read(plan_of({split: str(file) for split, file in files.items()}, recognized.columns))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [14041, 3250, 3453]
    truth = metrics.to_sequences([data.label_names[label] for label in row] for row in _rows_of(data.test.labels))
    counts = metrics.METRICS.load("entity_f1").counts
    assert counts is not None and counts(truth, truth).sum(0).tolist() == [5648] * 3  # as the paper counts them


def _rows_of(labels: Ragged) -> list[np.ndarray]:
    ends = itertools.accumulate(labels.counts.tolist())
    return [labels.values[end - count : end] for end, count in zip(ends, labels.counts, strict=True)]
