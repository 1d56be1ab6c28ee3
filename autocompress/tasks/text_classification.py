"""Classify a text or a pair of texts: sentiment, topic, intent, entailment, paraphrase."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autocompress.config import StudyPlan
from autocompress.core.errors import UsageError
from autocompress.data import Table, cut_rows, cut_size, read_rows, sample_rows
from autocompress.data.augmentation import UNLABELLED
from autocompress.data.splits import SMALLEST_CUT
from autocompress.tasks._labels import label_ids

PIPELINE = "text-classification"
AUTO_MODEL = "AutoModelForSequenceClassification"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Rows:
    """One split as text."""

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None  # the second texts, if rows are pairs
    labels: np.ndarray  # (rows,) int64, indices into the label names

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: np.ndarray) -> Rows:
        """Return some of the rows, in the order of `indices` (rows,)."""
        pairs = None if self.pairs is None else tuple(self.pairs[index] for index in indices)
        return Rows(tuple(self.texts[index] for index in indices), pairs, self.labels[indices])


@dataclass(frozen=True)
class TaskData:
    """The three splits and the unlabelled texts, checked; `fingerprint` is the sha256 of all of them."""

    train: Rows
    validation: Rows
    test: Rows
    unlabelled: Rows  # texts that the teacher labels; their labels are UNLABELLED
    label_names: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Tokens:
    """One split as unpadded token ids with special tokens."""

    input_ids: tuple[np.ndarray, ...]  # each (tokens,) int64
    token_type_ids: tuple[np.ndarray, ...] | None  # each (tokens,) int64; null unless rows are pairs
    labels: np.ndarray  # (rows,) int64

    def __len__(self) -> int:
        return len(self.input_ids)


def read(plan: StudyPlan, id2label: Mapping[int, str] | None = None) -> TaskData:
    """Read the splits of a study, check them, number their labels, cut absent splits from train, and sample.

    `id2label` is that of the model's config; null or LABEL_0 … if the model does not name its labels. Every wrong input is a
    UsageError that names its place.
    """
    data, columns = plan.task.data, plan.task.columns
    texts = [columns.text] if columns.text_pair is None else [columns.text, columns.text_pair]
    sources = {split: getattr(data, split) for split in SPLITS}
    tables = {
        split: read_rows(source, plan.place(f"task.data.{split}"), texts, columns.label, data.where)
        for split, source in sources.items()
        if source is not None
    }
    labels = label_ids(tables, columns.label, id2label, head_is_new=plan.teacher.fine_tune is not None)
    splits = {split: _rows(table, texts, labels.ids[split]) for split, table in tables.items()}
    _cut_absent_splits(splits, plan)
    train, validation, test = (_sample_split(splits[split], split, plan) for split in SPLITS)
    unlabelled = _read_unlabelled(plan, texts, (train, validation, test))
    parts = (train, validation, test) + ((unlabelled,) if len(unlabelled) else ())
    return TaskData(train, validation, test, unlabelled, labels.names, _fingerprint(labels.names, parts))


def tokenize(rows: Rows, tokenizer: Any, max_tokens: int, batch: int = 1000) -> Tokens:
    """Return the token ids of every row, truncated to `max_tokens` (with special tokens), by a fast transformers tokenizer."""
    with_types = rows.pairs is not None and "token_type_ids" in tokenizer.model_input_names
    input_ids: list[np.ndarray] = []
    type_ids: list[np.ndarray] = []
    for start in range(0, len(rows), batch):
        encoded = tokenizer(
            list(rows.texts[start : start + batch]),
            None if rows.pairs is None else list(rows.pairs[start : start + batch]),
            truncation=True,
            max_length=max_tokens,
            return_attention_mask=False,
            return_token_type_ids=with_types,
        )
        input_ids += [np.asarray(ids, np.int64) for ids in encoded["input_ids"]]
        type_ids += [np.asarray(ids, np.int64) for ids in encoded["token_type_ids"]] if with_types else []
    return Tokens(tuple(input_ids), tuple(type_ids) if with_types else None, rows.labels)


def pad(
    tokens: Tokens, indices: Sequence[int] | np.ndarray, pad_id: int, multiple: int = 1, length: int | None = None
) -> dict[str, np.ndarray]:
    """Return the model inputs of some rows: `input_ids`, `attention_mask` (, `token_type_ids`), each (batch, length) int64.

    They are padded on the right to the longest row, rounded up to a `multiple`, or to a fixed `length`; ValueError if a row
    is longer.
    """
    longest = max(len(tokens.input_ids[index]) for index in indices)
    width = length or -(-longest // multiple) * multiple
    if width < longest:
        raise ValueError(f"the longest row has {longest} tokens; `length >= {longest}` must hold, but got {length}")
    batch = {
        "input_ids": np.full((len(indices), width), pad_id, np.int64),
        "attention_mask": np.zeros((len(indices), width), np.int64),
    }
    if tokens.token_type_ids is not None:
        batch["token_type_ids"] = np.zeros((len(indices), width), np.int64)
    for row, index in enumerate(indices):
        ids = tokens.input_ids[index]
        batch["input_ids"][row, : len(ids)] = ids
        batch["attention_mask"][row, : len(ids)] = 1
        if tokens.token_type_ids is not None:
            batch["token_type_ids"][row, : len(ids)] = tokens.token_type_ids[index]
    return batch


def _rows(table: Table, texts: Sequence[str], labels: np.ndarray) -> Rows:
    pairs = tuple(table.columns[texts[1]]) if len(texts) > 1 else None
    return Rows(tuple(table.columns[texts[0]]), pairs, labels)


def _read_unlabelled(plan: StudyPlan, texts: Sequence[str], splits: Sequence[Rows]) -> Rows:
    """Read the unlabelled texts without duplicates and without texts of a split, so that no split leaks into training."""
    data = plan.task.data
    if data.unlabelled is None:
        return splits[0].take(np.arange(0))
    table = read_rows(data.unlabelled, plan.place("task.data.unlabelled"), texts, None, data.where)
    rows = _rows(table, texts, np.full(len(table), UNLABELLED, np.int64))
    split_keys = {key for split in splits for key in _keys(split)}
    first_rows = {key: row for row, key in reversed(list(enumerate(_keys(rows)))) if key not in split_keys}
    kept = np.sort(np.fromiter(first_rows.values(), np.int64, len(first_rows)))
    limit = data.max_unlabelled_rows or len(kept)
    return rows.take(kept[sample_rows(np.zeros(len(kept), np.int64), limit, plan.seed, "sample unlabelled")])


def _cut_absent_splits(splits: dict[str, Rows], plan: StudyPlan) -> None:
    """Cut the splits that the study file leaves out from train, test first."""
    rows = cut_size(len(splits["train"]))
    for split in ("test", "validation"):
        if split in splits:
            continue
        if rows < SMALLEST_CUT:
            raise UsageError(
                f"{plan.place('task.data.train')}: {len(splits['train'])} rows are too few to cut a {split} split from them "
                f"(at least {5 * SMALLEST_CUT} are needed); set task.data.{split}"
            )
        train = splits["train"]
        mask = cut_rows(_keys(train), train.labels, rows, plan.seed, f"cut {split}")
        splits[split], splits["train"] = train.take(np.flatnonzero(mask)), train.take(np.flatnonzero(~mask))


def _keys(rows: Rows) -> Sequence[Hashable]:
    """Return a key per row; rows are equal if their texts are, apart from case and spacing."""
    texts = rows.texts if rows.pairs is None else [f"{a}\0{b}" for a, b in zip(rows.texts, rows.pairs, strict=True)]
    return [" ".join(text.casefold().split()) for text in texts]


def _sample_split(rows: Rows, split: str, plan: StudyPlan) -> Rows:
    key = f"max_{split}_rows"
    limit = getattr(plan.task.data, key)
    if limit is None:
        return rows
    labels = len(np.unique(rows.labels))
    if split == "train" and limit < labels:
        raise UsageError(
            f"{plan.place(f'task.data.{key}')}: at least {labels} rows are needed, one per label, but got {limit}"
        )
    return rows.take(sample_rows(rows.labels, limit, plan.seed, f"sample {split}"))


def _fingerprint(label_names: tuple[str, ...], splits: Sequence[Rows]) -> str:
    digest = hashlib.sha256(json.dumps(label_names).encode())
    for rows in splits:
        pairs = rows.pairs or (None,) * len(rows)
        digest.update(f"\n{len(rows)} rows\n".encode())
        for row in zip(rows.texts, pairs, rows.labels.tolist(), strict=True):
            digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()
