"""From files to checked, tokenized splits: what is read, how it is cut, and the sentence for all that is wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from autocompress.config import HubData, StudyPlan
from autocompress.core.errors import UsageError
from autocompress.core.registry import load
from autocompress.data import cut_rows, cut_size, read_rows, sample_rows, shares
from autocompress.data.augmentation import UNLABELLED
from autocompress.tasks.text_classification import Rows, pad, read, tokenize

Columns = dict[str, list[Any]]
CSV = "text,label\n"
NAMES = {0: "NEGATIVE", 1: "POSITIVE"}


def plan_of(data: Mapping[str, Any], columns: Mapping[str, Any] | None = None, fine_tune: bool = True) -> StudyPlan:
    """A plan with these sources; nothing else in it matters here."""
    teacher: dict[str, Any] = {"model": "x", "fine_tune": {} if fine_tune else None}
    return StudyPlan.model_validate(
        {
            "study": "s",
            "teacher": teacher,
            "task": {"data": data, "columns": columns or {}},
            "space": {},
            "storage": "sqlite:///study.db",
            "artifacts": {"path": "artifacts"},
            "seed": 3,
        }
    )


def write(path: Path, text: str) -> str:
    """A small file; returns its path."""
    path.write_text(text, encoding="utf-8")
    return str(path)


def many(rows: int, labels: int = 2) -> str:
    """A CSV of different texts with labels in turn."""
    return CSV + "".join(f"text {row},{row % labels}\n" for row in range(rows))


def three(folder: Path, train: str, other: str | None = None) -> dict[str, str]:
    """The same CSV for all splits, or another for validation and test."""
    write(folder / "train.csv", train)
    write(folder / "other.csv", other or train)
    return {"train": f"{folder}/train.csv", "validation": f"{folder}/other.csv", "test": f"{folder}/other.csv"}


# Reading


def save(path: Path, columns: Columns) -> Path:
    """The columns as a file of the kind that the suffix says, or as a folder of save_to_disk."""
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
def test_every_format_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, name: str, rows: list[tuple[str, int, str]]
) -> None:
    columns: Columns = dict(zip(("text", "label", "source"), map(list, zip(*rows, strict=True)), strict=True))
    path = save(tmp_path_factory.mktemp("data") / name, columns)
    table = read_rows(str(path), "place", ["text"], "label", {"source": rows[0][2]})
    kept = [row for row in rows if row[2] == rows[0][2]]
    assert table.columns == {"text": [row[0] for row in kept], "label": [row[1] for row in kept]}
    numbers = [number for number, row in enumerate(rows, 1) if row[2] == rows[0][2]]
    assert [table.row_place(index).rpartition(" ")[2] for index in range(len(table))] == list(map(str, numbers))


def test_an_empty_cell_is_null_and_an_empty_text_is_not(tmp_path: Path) -> None:
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


def test_a_folder_laid_out_like_a_data_set_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_filters_that_leave_nothing(tmp_path: Path) -> None:
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


def test_folders_that_are_no_split(tmp_path: Path) -> None:
    def fails(folder: Path, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            read_rows(str(folder), "place", ["text"], "label", {})

    (tmp_path / "none").mkdir()
    fails(tmp_path / "none", "has no .parquet, .csv, .json, .jsonl file")
    fails(tmp_path / "missing.csv", "there is no file")
    write(tmp_path / "train.csv", many(4))
    write(tmp_path / "test.csv", many(4))
    fails(tmp_path, r"has several splits \(test.csv, train.csv\); name one file, or a glob")
    split = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(tmp_path / "all")
    fails(tmp_path / "all", "has several splits; name one of its folders; available: test, train")


# Labels


def with_names(path: Path, names: list[str], labels: list[int]) -> str:
    """A parquet file that declares label names."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    texts = [f"text {row}" for row in range(len(labels))]
    datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features).to_parquet(path)
    return str(path)


def test_labels_map_by_name(tmp_path: Path) -> None:
    named = with_names(tmp_path / "a.parquet", ["positive", "negative"], [0, 1, 0])
    texts = write(tmp_path / "b.csv", CSV + "a,Negative\nb,positive\n")
    data = {"train": named, "validation": texts, "test": named}
    task = read(plan_of(data, fine_tune=False), NAMES)
    assert task.label_names == ("NEGATIVE", "POSITIVE")
    assert task.train.labels.tolist() == [1, 0, 1]
    assert task.validation.labels.tolist() == [0, 1]


def test_without_names_in_the_model_the_data_says_the_order(tmp_path: Path) -> None:
    named = with_names(tmp_path / "a.parquet", ["positive", "negative"], [0, 1, 0])
    bare = write(tmp_path / "b.csv", CSV + "a,1\nb,0\n")
    words = write(tmp_path / "c.csv", CSV + "a,positive\nb,negative\n")
    numbers = write(tmp_path / "d.csv", CSV + "a,5\nb,1\n")
    unnamed = {0: "LABEL_0", 1: "LABEL_1"}
    for id2label in (None, unnamed):
        task = read(plan_of({"train": named, "validation": bare, "test": words}), id2label)
        assert task.label_names == ("positive", "negative")
        assert [task.validation.labels.tolist(), task.test.labels.tolist()] == [[1, 0], [0, 1]]
        task = read(plan_of({"train": words, "validation": words, "test": words}), id2label)
        assert (task.label_names, task.train.labels.tolist()) == (("negative", "positive"), [1, 0])
        task = read(plan_of({"train": numbers, "validation": numbers, "test": numbers}), id2label)
        assert (task.label_names, task.train.labels.tolist()) == (("1", "5"), [1, 0])


def test_a_new_head_learns_the_labels_of_the_data(tmp_path: Path) -> None:
    data = three(tmp_path, CSV + "a,spam\nb,ham\nc,egg\n")
    assert read(plan_of(data), NAMES).label_names == ("egg", "ham", "spam")
    with pytest.raises(UsageError, match="the model has no label"):
        read(plan_of(data, fine_tune=False), NAMES)


@pytest.mark.parametrize(
    ("train", "other", "id2label", "message"),
    [
        (
            "a,0\nb,1\n",
            "a,0\nb,2\n",
            None,
            "task.data.validation: other.csv, row 2: train has no row with label 2; available: 0, 1",
        ),
        (
            "a,0\nb,1\n",
            "a,-1\n",
            None,
            "task.data.validation: other.csv, row 1: label -1 means unlabelled; remove such",
        ),
        ("a,x\nb,y\n", "a,z\n", None, "other.csv, row 1: train has no row with label 'z'; available: x, y"),
        ("a,x\nb,y\n", "a,0\n", None, "other.csv, row 1: train has no row with label 0; available: x, y"),
        ("a,0.5\nb,1\n", None, None, "train.csv, row 1: a label must be a name or a whole number, but got 0.5"),
        (
            "a,0\nb,1\nc,2\n",
            None,
            NAMES,
            "train: the model has 2 labels, 0 to 1, but train has 0, 1, 2; use label names",
        ),
        ("a,1\nb,2\n", None, NAMES, "the model has 2 labels, 0 to 1, but train has 1, 2"),
        ("a,0\nb,0\n", None, NAMES, "the model has 2 labels, 0 to 1, but train has 0"),
        ("a,positve\nb,negative\n", None, NAMES, "the model has no label 'positve'; did you mean "),
        ("a,x\nb,y\n", None, {0: "LABEL_0"}, "train has 2 labels (x, y), but the model has 1"),
    ],
)
def test_labels_that_cannot_be_right(
    tmp_path: Path, train: str, other: str | None, id2label: dict[int, str] | None, message: str
) -> None:
    data = three(tmp_path, CSV + train, CSV + other if other else None)
    with pytest.raises(UsageError) as caught:
        read(plan_of(data, fine_tune=False), id2label)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_labels_that_cannot_be_right(tmp_path: Path) -> None:
    mixed = write(tmp_path / "a.json", '[{"text": "a", "label": 0}, {"text": "b", "label": "x"}]')
    with pytest.raises(UsageError, match=r"a.json, row 2: label mixes names and numbers: 'x' and 0"):
        read(plan_of({"train": mixed}))
    declared = with_names(tmp_path / "a.parquet", ["a", "b", "c"], [0, 1, 0])
    unseen = with_names(tmp_path / "b.parquet", ["a", "b", "c"], [2])
    with pytest.raises(UsageError, match=r"b.parquet, row 1: train has no row with label 'c'; available: a, b"):
        read(plan_of({"train": declared, "validation": unseen, "test": unseen}))
    with pytest.raises(UsageError, match=r"train has 3 labels \(a, b, c\), but the model has 4"):
        read(plan_of({"train": declared}, fine_tune=False), dict(enumerate("abcd")))
    with_names(tmp_path / "b.parquet", ["b", "a"], [0])
    with pytest.raises(UsageError, match=r"a.parquet and b.parquet declare different label names"):
        read(plan_of({"train": f"{tmp_path}/*.parquet"}))


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


def test_absent_splits_are_cut_from_train(tmp_path: Path) -> None:
    rows = "".join(f"{'Text' if row % 2 else ' text '} {row // 2},{row // 2 % 2}\n" for row in range(2400))
    train = write(tmp_path / "a.csv", CSV + rows)  # every text twice, differing in case and spacing
    task = read(plan_of({"train": train, "max_train_rows": 1000, "max_test_rows": 100}))
    parts = [task.train, task.validation, task.test]
    assert [len(part) for part in parts] == [1000, 240, 100]
    assert all(Counter(part.labels.tolist()) == {0: len(part) // 2, 1: len(part) // 2} for part in parts)
    seen = [{" ".join(text.lower().split()) for text in part.texts} for part in parts]
    assert len(set.union(*seen)) == sum(map(len, seen))
    again = read(plan_of({"train": train, "max_train_rows": 1000, "max_test_rows": 100}))
    assert again.fingerprint == task.fingerprint
    assert again.validation.texts == task.validation.texts


def test_unlabelled_texts_hold_nothing_that_is_judged(tmp_path: Path) -> None:
    data = three(tmp_path, many(60), CSV + "judged,0\nalso,1\n")
    more = write(tmp_path / "more.csv", "text\nnew\n Judged\nother\nALSO\nNew\ntext 3\nlast\n")
    task = read(plan_of({**data, "unlabelled": more}))
    assert task.unlabelled.texts == ("new", "other", "last")  # each once, and none of a split, whatever its case
    assert set(task.unlabelled.labels) == {UNLABELLED}
    assert task.fingerprint != read(plan_of(data)).fingerprint
    assert len(read(plan_of(data)).unlabelled) == 0
    assert len(read(plan_of({**data, "unlabelled": more, "max_unlabelled_rows": 2})).unlabelled) == 2
    labelled = read(plan_of({**data, "unlabelled": data["train"]}))  # what train holds is no news
    assert len(labelled.unlabelled) == 0


def test_too_few_rows(tmp_path: Path) -> None:
    data = three(tmp_path, many(49))
    with pytest.raises(
        UsageError,
        match=r"task.data.train: 49 rows are too few to cut a test split from them \(at least 50 are needed\)",
    ):
        read(plan_of({"train": data["train"]}))
    assert len(read(plan_of({"train": write(tmp_path / "b.csv", many(50))})).test) == 10
    data = three(tmp_path, many(20, labels=5))
    with pytest.raises(UsageError, match="max_train_rows: at least 5 rows are needed, one per label, but got 4"):
        read(plan_of({**data, "max_train_rows": 4}))


def test_the_fingerprint_tells_any_change(tmp_path: Path) -> None:
    def fingerprint(train: str) -> str:
        return read(plan_of(three(tmp_path, CSV + train, CSV + "x,0\n"))).fingerprint

    texts = ["a,0\nb,1\n", "a,1\nb,0\n", "b,1\na,0\n", "a,0\nc,1\n", "a,0\nb,1\nb,1\n"]
    assert len({fingerprint(text) for text in texts}) == len(texts)
    assert fingerprint(texts[0]) == fingerprint(texts[0])


# Tokens


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer in the form of BERT's."""
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def test_tokens_of_texts(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = Rows(("a b", "a b c d e f", "a"), None, np.array([0, 1, 0]))
    for at_once in (2, 1000):
        tokens = tokenize(rows, tokenizer, 5, at_once)
        assert [ids.tolist() for ids in tokens.input_ids] == [[2, 4, 5, 3], [2, 4, 5, 6, 3], [2, 4, 3]]
        assert tokens.token_type_ids is None
        assert tokens.input_ids[0].dtype == np.int64
    batch = pad(tokens, [2, 0], pad_id=9)
    assert batch["input_ids"].tolist() == [[2, 4, 3, 9], [2, 4, 5, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert set(batch) == {"input_ids", "attention_mask"}
    assert pad(tokens, np.array([0, 1]), 9, multiple=8)["input_ids"].shape == (2, 8)
    assert pad(tokens, [1], 9, multiple=5)["input_ids"].shape == (1, 5)
    assert pad(tokens, [0], 9, length=7)["attention_mask"].sum() == 4
    with pytest.raises(ValueError, match="the longest row has 5 tokens; `length >= 5` must hold, but got 4"):
        pad(tokens, [1], 9, length=4)


def test_tokens_of_pairs(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = Rows(("a b c d", "a"), ("e", "b c"), np.array([0, 1]))
    tokens = tokenize(rows, tokenizer, 7)
    assert tokens.token_type_ids is not None
    assert [ids.tolist() for ids in tokens.input_ids] == [[2, 4, 5, 6, 3, 8, 3], [2, 4, 3, 5, 6, 3]]
    assert [ids.tolist() for ids in tokens.token_type_ids] == [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]
    batch = pad(tokens, [1, 0], 0)
    assert batch["token_type_ids"].tolist()[0] == [0, 0, 0, 1, 1, 1, 0]
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    assert tokenize(rows, tokenizer, 7).token_type_ids is None


def test_pairs_from_files(tmp_path: Path) -> None:
    text = "one,two,label\na,b,0\na,c,1\n"
    data = three(tmp_path, text)
    task = read(plan_of(data, {"text": "one", "text_pair": "two"}))
    assert (task.train.texts, task.train.pairs) == (("a", "a"), ("b", "c"))
    assert task.train.take(np.array([1])).pairs == ("c",)


def test_the_registry_finds_the_task() -> None:
    task = load("tasks", "text_classification")
    assert (task.PIPELINE, task.AUTO_MODEL) == ("text-classification", "AutoModelForSequenceClassification")
    assert all(callable(getattr(task, name)) for name in ("read", "tokenize", "pad"))
