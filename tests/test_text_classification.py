"""The text-classification task: labels, absent splits, unlabelled texts and tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from autocompress.config import StudyPlan, read_plan
from autocompress.core.errors import UsageError
from autocompress.data.ragged import Ragged
from autocompress.search import plan_check
from autocompress.tasks import TASKS, Rows
from autocompress.tasks._class_objective import UNLABELLED
from autocompress.tasks._tokens import pad
from autocompress.tasks.text_classification import TASK
from tests.csv_files import CSV, csv_text, three_splits, write
from tests.tiny import tiny_study

TAGGING = ("task.kind=token-classification", "task.metric=entity_f1")
NAMES = {0: "NEGATIVE", 1: "POSITIVE"}


def plan_of(data: Mapping[str, Any], columns: Mapping[str, Any] | None = None, fine_tune: bool = True) -> StudyPlan:
    """Return a plan with these data sources; the other keys do not matter."""
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


def with_names(path: Path, names: list[str], labels: list[int]) -> str:
    """Write a parquet file that declares label names, and return its path."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    texts = [f"text {row}" for row in range(len(labels))]
    datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features).to_parquet(path)
    return str(path)


def test_labels_map_by_name(tmp_path: Path) -> None:
    named = with_names(tmp_path / "a.parquet", ["positive", "negative"], [0, 1, 0])
    texts = write(tmp_path / "b.csv", CSV + "a,Negative\nb,positive\n")
    data = {"train": named, "validation": texts, "test": named}
    task = TASK.read(plan_of(data, fine_tune=False), NAMES)
    assert task.label_names == ("NEGATIVE", "POSITIVE")
    assert task.train.labels.values.tolist() == [1, 0, 1]
    assert task.validation.labels.values.tolist() == [0, 1]


def test_label_order_is_the_datas_if_the_model_has_no_names(tmp_path: Path) -> None:
    named = with_names(tmp_path / "a.parquet", ["positive", "negative"], [0, 1, 0])
    bare = write(tmp_path / "b.csv", CSV + "a,1\nb,0\n")
    words = write(tmp_path / "c.csv", CSV + "a,positive\nb,negative\n")
    numbers = write(tmp_path / "d.csv", CSV + "a,5\nb,1\n")
    unnamed = {0: "LABEL_0", 1: "LABEL_1"}
    for id2label in (None, unnamed):
        task = TASK.read(plan_of({"train": named, "validation": bare, "test": words}), id2label)
        assert task.label_names == ("positive", "negative")
        assert [task.validation.labels.values.tolist(), task.test.labels.values.tolist()] == [[1, 0], [0, 1]]
        task = TASK.read(plan_of({"train": words, "validation": words, "test": words}), id2label)
        assert (task.label_names, task.train.labels.values.tolist()) == (("negative", "positive"), [1, 0])
        task = TASK.read(plan_of({"train": numbers, "validation": numbers, "test": numbers}), id2label)
        assert (task.label_names, task.train.labels.values.tolist()) == (("1", "5"), [1, 0])


def test_new_head_uses_the_labels_of_the_data(tmp_path: Path) -> None:
    data = three_splits(tmp_path, CSV + "a,spam\nb,ham\nc,egg\n")
    assert TASK.read(plan_of(data), NAMES).label_names == ("egg", "ham", "spam")
    with pytest.raises(UsageError, match="the model has no label"):
        TASK.read(plan_of(data, fine_tune=False), NAMES)


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
def test_label_ids_reports_disagreement_of_data_and_model(
    tmp_path: Path, train: str, other: str | None, id2label: dict[int, str] | None, message: str
) -> None:
    data = three_splits(tmp_path, CSV + train, CSV + other if other else None)
    with pytest.raises(UsageError) as caught:
        TASK.read(plan_of(data, fine_tune=False), id2label)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_label_ids_reports_mixed_and_unseen_labels(tmp_path: Path) -> None:
    mixed = write(tmp_path / "a.json", '[{"text": "a", "label": 0}, {"text": "b", "label": "x"}]')
    with pytest.raises(UsageError, match=r"a.json, row 2: label mixes names and numbers: 'x' and 0"):
        TASK.read(plan_of({"train": mixed}))
    declared = with_names(tmp_path / "a.parquet", ["a", "b", "c"], [0, 1, 0])
    unseen = with_names(tmp_path / "b.parquet", ["a", "b", "c"], [2])
    with pytest.raises(UsageError, match=r"b.parquet, row 1: train has no row with label 'c'; available: a, b"):
        TASK.read(plan_of({"train": declared, "validation": unseen, "test": unseen}))
    with pytest.raises(UsageError, match=r"train has 3 labels \(a, b, c\), but the model has 4"):
        TASK.read(plan_of({"train": declared}, fine_tune=False), dict(enumerate("abcd")))
    with_names(tmp_path / "b.parquet", ["b", "a"], [0])
    with pytest.raises(UsageError, match=r"a.parquet and b.parquet declare different label names"):
        TASK.read(plan_of({"train": f"{tmp_path}/*.parquet"}))


def test_absent_splits_are_cut_from_train(tmp_path: Path) -> None:
    rows = "".join(f"{'Text' if row % 2 else ' text '} {row // 2},{row // 2 % 2}\n" for row in range(2400))
    train = write(tmp_path / "a.csv", CSV + rows)  # every text twice, differing in case and spacing
    task = TASK.read(plan_of({"train": train, "max_train_rows": 1000, "max_test_rows": 100}))
    parts = [task.train, task.validation, task.test]
    assert [len(part) for part in parts] == [1000, 240, 100]
    assert all(Counter(part.labels.values.tolist()) == {0: len(part) // 2, 1: len(part) // 2} for part in parts)
    seen = [{" ".join(text.lower().split()) for text in part.texts} for part in parts]
    assert len(set.union(*seen)) == sum(map(len, seen))
    again = TASK.read(plan_of({"train": train, "max_train_rows": 1000, "max_test_rows": 100}))
    assert again.fingerprint == task.fingerprint
    assert again.validation.texts == task.validation.texts


def test_unlabelled_texts_exclude_texts_of_the_splits(tmp_path: Path) -> None:
    data = three_splits(tmp_path, csv_text(60), CSV + "judged,0\nalso,1\n")
    more = write(tmp_path / "more.csv", "text\nnew\n Judged\nother\nALSO\nNew\ntext 3\nlast\n")
    task = TASK.read(plan_of({**data, "unlabelled": more}))
    assert task.unlabelled.texts == ("new", "other", "last")  # each once, and none of a split, whatever its case
    assert set(task.unlabelled.labels.values) == {UNLABELLED}
    assert task.fingerprint != TASK.read(plan_of(data)).fingerprint
    assert len(TASK.read(plan_of(data)).unlabelled) == 0
    assert len(TASK.read(plan_of({**data, "unlabelled": more, "max_unlabelled_rows": 2})).unlabelled) == 2
    labelled = TASK.read(plan_of({**data, "unlabelled": data["train"]}))  # what train holds is no news
    assert len(labelled.unlabelled) == 0


def test_unlabelled_texts_of_other_columns(tmp_path: Path) -> None:
    data = three_splits(tmp_path, csv_text(60), CSV + "judged,0\nalso,1\n")
    write(tmp_path / "more_1.csv", "question,answer\nwho,judged\nwhat, \n")
    write(tmp_path / "more_2.csv", "title,id\nlast,1\n")
    asked = {"unlabelled": str(tmp_path / "more_*.csv"), "unlabelled_columns": ["title", "question", "answer"]}
    task = TASK.read(plan_of({**data, **asked}))
    assert task.unlabelled.texts == ("who", "what", "last")
    assert set(task.unlabelled.labels.values) == {UNLABELLED}


@pytest.mark.parametrize(
    ("pairs", "changes", "message"),
    [
        (False, [], "names the columns of task.data.unlabelled, which is not set"),
        (True, ["task.data.unlabelled=data/train.csv"], "text-classification reads pairs of texts here"),
        (False, ["task.data.unlabelled=data/train.csv", *TAGGING], "reads lists of words"),
    ],
)  # fmt: skip
def test_unlabelled_columns_without_use_are_refused(
    tmp_path: Path, pairs: bool, changes: list[str], message: str
) -> None:
    file = tiny_study(tmp_path, pairs=pairs)
    with pytest.raises(UsageError, match=rf"task.data.unlabelled_columns: .*{message}.*leave") as error:
        plan_check.prepare(read_plan(file, ["task.data.unlabelled_columns=[text]", *changes]), offline=True)
    assert "\n" not in str(error.value)


def test_too_few_rows(tmp_path: Path) -> None:
    data = three_splits(tmp_path, csv_text(49))
    with pytest.raises(
        UsageError,
        match=r"task.data.train: 49 rows are too few to cut a test split from them \(at least 50 are needed\)",
    ):
        TASK.read(plan_of({"train": data["train"]}))
    assert len(TASK.read(plan_of({"train": write(tmp_path / "b.csv", csv_text(50))})).test) == 10
    data = three_splits(tmp_path, csv_text(20, labels=5))
    with pytest.raises(UsageError, match="max_train_rows: at least 5 rows are needed, one per label, but got 4"):
        TASK.read(plan_of({**data, "max_train_rows": 4}))


def test_fingerprint_changes_with_any_change(tmp_path: Path) -> None:
    def fingerprint(train: str) -> str:
        return TASK.read(plan_of(three_splits(tmp_path, CSV + train, CSV + "x,0\n"))).fingerprint

    texts = ["a,0\nb,1\n", "a,1\nb,0\n", "b,1\na,0\n", "a,0\nc,1\n", "a,0\nb,1\nb,1\n"]
    assert len({fingerprint(text) for text in texts}) == len(texts)
    assert fingerprint(texts[0]) == fingerprint(texts[0])


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with the special tokens of BERT."""
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
    rows = Rows(("a b", "a b c d e f", "a"), None, Ragged.one_each(np.array([0, 1, 0])))
    for at_once in (2, 1000):
        tokens = TASK.tokenize(rows, tokenizer, 5, at_once)
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
    rows = Rows(("a b c d", "a"), ("e", "b c"), Ragged.one_each(np.array([0, 1])))
    tokens = TASK.tokenize(rows, tokenizer, 7)
    assert tokens.token_type_ids is not None
    assert [ids.tolist() for ids in tokens.input_ids] == [[2, 4, 5, 6, 3, 8, 3], [2, 4, 3, 5, 6, 3]]
    assert [ids.tolist() for ids in tokens.token_type_ids] == [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]
    batch = pad(tokens, [1, 0], 0)
    assert batch["token_type_ids"].tolist()[0] == [0, 0, 0, 1, 1, 1, 0]
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    assert TASK.tokenize(rows, tokenizer, 7).token_type_ids is None


def test_pairs_from_files(tmp_path: Path) -> None:
    text = "one,two,label\na,b,0\na,c,1\n"
    data = three_splits(tmp_path, text)
    task = TASK.read(plan_of(data, {"text": "one", "text_pair": "two"}))
    assert (task.train.texts, task.train.pairs) == (("a", "a"), ("b", "c"))
    assert task.train.take(np.array([1])).pairs == ("c",)


def test_the_registry_finds_the_task() -> None:
    assert TASKS.load("text_classification") is TASK
    assert (TASK.name, TASK.auto_model) == ("text-classification", "AutoModelForSequenceClassification")


def test_facts_are_the_recall_of_each_label_that_occurs(tmp_path: Path) -> None:
    data = TASK.read(plan_of(three_splits(tmp_path, CSV + "a,x\nb,y\nc,z\n")))
    truth = np.array([0, 0, 1, 1])
    facts = TASK.facts(np.array([0, 1, 1, 1]), truth, truth, data)
    assert facts == {"recall": {"x": (0.5, 1.0), "y": (1.0, 1.0)}}


def test_count_changes_takes_either_label_of_a_tie() -> None:
    recorded = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert TASK.count_changes(np.array([[0.9, 0.0], [0.4, 0.5], [0.2, 0.1]]), recorded) == 1
