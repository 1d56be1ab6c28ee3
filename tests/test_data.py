"""Rows from files and the hub, the message for each unreadable file, and cutting and sampling of splits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocompress.config import HubData
from autocompress.core.errors import UsageError
from autocompress.data import cut_rows, cut_size, read_rows, read_texts, sample_rows, shares
from tests.csv_files import CSV, csv_text, write

Columns = dict[str, list[Any]]


# Reading


def save(path: Path, columns: Columns) -> Path:
    """Save the columns in the format of the suffix, or as a folder of `save_to_disk` without one."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.Value("int64"), "source": datasets.Value("string")}
    )
    data = datasets.Dataset.from_dict(columns, features=features)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    match path.suffix:
        case ".parquet":
            data.to_parquet(path)
        case ".csv":
            data.to_csv(path)
        case ".jsonl":
            path.write_text("\n".join(map(json.dumps, rows)) + "\n")
        case ".json":
            path.write_text(json.dumps(rows))
        case _:
            data.save_to_disk(path)
    return path


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12) | st.sampled_from(
    ["NA", "null", "1", "2024-01-01", 'say "no", then\nyes', "ünï", " x "]
)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.json", "saved"])
@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.integers(0, 5), st.sampled_from(["x", "y"])), min_size=1, max_size=8))
def test_read_rows_gives_the_same_rows_for_every_format(
    tmp_path_factory: pytest.TempPathFactory, name: str, rows: list[tuple[str, int, str]]
) -> None:
    columns: Columns = dict(zip(("text", "label", "source"), map(list, zip(*rows, strict=True)), strict=True))
    path = save(tmp_path_factory.mktemp("data") / name, columns)
    table = read_rows(str(path), "place", ["text"], "label", {"source": rows[0][2]})
    kept = [row for row in rows if row[2] == rows[0][2]]
    assert table.columns == {"text": [row[0] for row in kept], "label": [row[1] for row in kept]}
    numbers = [number for number, row in enumerate(rows, 1) if row[2] == rows[0][2]]
    assert [table.row_place(index).rpartition(" ")[2] for index in range(len(table))] == list(map(str, numbers))


def test_empty_cell_is_null_and_empty_text_is_not(tmp_path: Path) -> None:
    assert read_rows(write(tmp_path / "a.csv", CSV + '"",1\n'), "place", ["text"], "label", {}).columns["text"] == [""]
    with pytest.raises(UsageError, match=r"a.csv, row 1: text is null"):
        read_rows(write(tmp_path / "a.csv", CSV + ",1\n"), "place", ["text"], "label", {})


def test_a_csv_larger_than_a_block_keeps_its_line_breaks(tmp_path: Path) -> None:
    texts = [f"{row} first line\nsecond line" for row in range(60_000)]  # 1.9 MB; pyarrow reads 1 MiB at a time
    path = write(tmp_path / "a.csv", CSV + "".join(f'"{text}",0\n' for text in texts))
    assert read_rows(path, "place", ["text"], "label", {}).columns["text"] == texts


def test_globs_and_folders(tmp_path: Path) -> None:
    for part in (1, 2):
        save(
            tmp_path / f"part-{part}.parquet", {"text": [f"{part}a", f"{part}b"], "label": [0, 1], "source": ["x", "x"]}
        )
    (tmp_path / "README.md").write_text("not data")
    for source in (str(tmp_path), f"{tmp_path}/part-*.parquet", f"{tmp_path}/*"):
        table = read_rows(source, "place", ["text"], "label", {})
        assert table.columns["text"] == ["1a", "1b", "2a", "2b"]
        assert table.row_place(2) == "place: part-2.parquet, row 1"


def test_read_rows_reads_a_folder_with_the_layout_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "train.csv", "text,label\nt,0\n")
    write(tmp_path / "test.csv", "text,label\nu,1\n")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    table = read_rows(HubData(path=str(tmp_path), split="test"), "place", ["text"], "label", {})
    assert table.columns == {"text": ["u"], "label": [1]}
    assert not (tmp_path / "cache").exists()
    with pytest.raises(
        UsageError, match=r"place: the data set .* \(split dev\) cannot be loaded: .*; check path, config"
    ):
        read_rows(HubData(path=str(tmp_path), split="dev"), "place", ["text"], "label", {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "a.csv is empty (0 bytes)"),
        ("a.csv", CSV, "a.csv has no rows"),
        ("a.csv", "txt,label\na,1\n", "a.csv has no column 'text'; did you mean 'txt'? (available: txt, label)"),
        ("a.csv", "text,lable\na,1\n", "a.csv has no column 'label'; did you mean 'lable'? (available: text, lable)"),
        ("a.csv", "text,label\na,1,2\n", "a.csv cannot be read as csv: CSV parse error: Expected 2 columns, got 3"),
        ("a.csv", "text,label\na,1\n,0\n", "a.csv, row 2: text is null; fill it in or remove the row"),
        ("a.csv", "text,label\na,1\nb,\n", "a.csv, row 2: label is null; label the row or remove it"),
        ("a.json", '[{"text": "a", "label": NaN}]', "a.json, row 1: label is null"),
        ("a.json", '[{"text": 3, "label": 1}]', "a.json, row 1: text must be text, but is 3"),
        ("a.json", '[{"text": ["a"], "label": 1}]', "row 1: text must be text, but is ['a']"),
        ("a.json", "[1]", "a.json cannot be read as json: every row must be an object"),
        ("a.json", "[", "a.json cannot be read as json: Expecting value"),
        ("a.jsonl", '{"text": "a", "label": 1}\nx', "a.jsonl cannot be read as jsonl: line 2 is not JSON"),
        ("a.jsonl", '{"text": "a"}\n', "a.jsonl has no column 'label'; available: text"),
        ("a.parquet", "hello", "a.parquet cannot be read as parquet: "),
        ("a.csv", "text,label\n\udce9,1\n", "a.csv cannot be read as csv: "),
    ],
)
def test_each_unreadable_file_is_one_sentence(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as caught:
        read_rows(str(tmp_path / name), "s.yaml: task.data.train", ["text"], "label", {})
    assert message in str(caught.value)
    assert str(caught.value).startswith("s.yaml: task.data.train: ")
    assert "\n" not in str(caught.value)


def test_read_texts_takes_of_each_file_the_columns_it_has(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"id": [1, 2], "a": ["one", None], "b": ["two", "three"]}).to_parquet(
        tmp_path / "1.parquet"
    )
    write(tmp_path / "2.csv", "b,label\n4,0\n")
    write(tmp_path / "3.jsonl", '{"c": "five", "n": 1}\n{"c": "six"}\n')
    datasets.Dataset.from_dict({"b": ["seven"], "n": [1]}).save_to_disk(tmp_path / "saved")
    files = tmp_path / "[123].*"
    assert read_texts(str(files), "s.yaml: x", ["b", "a", "c"]) == ["two", "three", "one", "4", "five", "six"]
    assert read_texts(str(tmp_path / "saved"), "s.yaml: x", ["a", "b"]) == ["seven"]
    with pytest.raises(UsageError, match=r"s.yaml: x: 3.jsonl has none of the columns a, b; it has c, n"):
        read_texts(str(files), "s.yaml: x", ["a", "b"])
    with pytest.raises(UsageError, match=r"s.yaml: x: 1.parquet, row 1: id must be text, but is 1"):
        read_texts(str(tmp_path / "1.parquet"), "s.yaml: x", ["id"])


def test_read_rows_explains_an_empty_result(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label,source,year\na,1,imdb,1999\nb,0,rotten_tomatoes,2000\n")

    def filtered(where: Mapping[str, str | int | float | bool]) -> Any:
        return read_rows(path, "place", ["text"], "label", where).columns["text"]

    assert filtered({"year": 1999}) == filtered({"year": "1999"}) == ["a"]
    with pytest.raises(UsageError, match=r"has no column 'sorce'; did you mean 'source'\?"):
        filtered({"sorce": "imdb"})
    with pytest.raises(
        UsageError, match=r"where: no row of a.csv has 'imbd' in column source; did you mean 'imdb'\? \(available: imdb"
    ):
        filtered({"source": "imbd"})
    with pytest.raises(UsageError, match=r"where: no row of a.csv passes \{'source': 'imdb', 'year': 2000\}"):
        filtered({"source": "imdb", "year": 2000})


def test_read_rows_refuses_folders_that_are_no_split(tmp_path: Path) -> None:
    def fails(folder: Path, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            read_rows(str(folder), "place", ["text"], "label", {})

    (tmp_path / "none").mkdir()
    fails(tmp_path / "none", "has no .parquet, .csv, .json, .jsonl file")
    fails(tmp_path / "missing.csv", "there is no file")
    write(tmp_path / "train.csv", csv_text(4))
    write(tmp_path / "test.csv", csv_text(4))
    fails(tmp_path, r"has several splits \(test.csv, train.csv\); name one file, or a glob")
    split = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(tmp_path / "all")
    fails(tmp_path / "all", "has several splits; name one of its folders; available: test, train")


# Splits


@pytest.mark.parametrize(
    ("rows", "size"), [(10, 2), (100, 20), (1000, 200), (1999, 200), (3000, 300), (20_000, 2000), (67_349, 2000)]
)
def test_cut_size(rows: int, size: int) -> None:
    assert cut_size(rows) == size


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=4, max_size=120), st.integers(0, 9), st.data()
)
def test_a_cut_is_disjoint_stratified_and_repeatable(
    rows: list[tuple[int, int]], seed: int, data: st.DataObject
) -> None:
    texts, labels = [f"t{text}" for text, _ in rows], np.array([label for _, label in rows])
    wanted = data.draw(st.integers(1, len(rows) // 2))
    cut = cut_rows(texts, labels, wanted, seed, "cut test")
    assert cut.sum() <= wanted
    assert not {texts[i] for i in np.flatnonzero(cut)} & {texts[i] for i in np.flatnonzero(~cut)}
    assert set(labels[~cut]) == set(labels)  # train still shows every label
    disputed = {text for text, _ in rows if len({label for other, label in rows if other == text}) > 1}
    assert not {int(texts[i][1:]) for i in np.flatnonzero(cut)} & disputed
    assert np.all(
        np.bincount(labels[cut], minlength=3) <= np.ceil(np.bincount(labels, minlength=3) * wanted / len(rows))
    )
    assert np.array_equal(cut, cut_rows(texts, labels, wanted, seed, "cut test"))


def test_a_cut_of_different_texts_is_exact_and_depends_on_seed_and_purpose() -> None:
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    texts = [f"t{row}" for row in range(1000)]
    cut = cut_rows(texts, labels, 200, 0, "cut test")
    assert np.bincount(labels[cut]).tolist() == [100, 60, 40]
    assert not np.array_equal(cut, cut_rows(texts, labels, 200, 1, "cut test"))
    assert not np.array_equal(cut, cut_rows(texts, labels, 200, 0, "cut validation"))


def test_a_cut_leaves_a_text_of_every_label() -> None:
    cut = cut_rows(["a", "b", "c"], np.array([0, 0, 1]), 3, 0, "cut test")
    assert cut.tolist() in ([True, False, False], [False, True, False])


def test_shares_by_hand() -> None:
    assert shares(np.array([100, 1, 0]), 10).tolist() == [10, 0, 0]
    assert shares(np.array([100, 1, 0]), 10, at_least_one=True).tolist() == [9, 1, 0]
    assert shares(np.array([5, 3, 2]), 5).tolist() == [3, 1, 1]  # 2.5, 1.5, 1: the first of equal remainders


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any), st.integers(1, 500), st.booleans())
def test_shares(counts: list[int], total: int, at_least_one: bool) -> None:
    result = shares(np.array(counts), total, at_least_one)
    assert result.sum() == min(total, sum(counts))
    assert np.all(result <= counts)
    assert np.all(result >= 0)
    if at_least_one and total >= np.count_nonzero(counts):
        assert np.all((result > 0) == (np.array(counts) > 0))


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(1, 90), st.integers(0, 5))
def test_a_sample_is_stratified_and_repeatable(labels: list[int], rows: int, seed: int) -> None:
    array = np.array(labels)
    chosen = sample_rows(array, rows, seed, "sample")
    assert len(chosen) == min(rows, len(labels))
    assert np.all(np.diff(chosen) > 0)
    assert rows < len(set(labels)) or set(array[chosen]) == set(labels)
    assert np.array_equal(chosen, sample_rows(array, rows, seed, "sample"))
