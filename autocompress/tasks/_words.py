"""The rows of tasks that label each word of a text: files with lists of words and tags, and their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from autocompress.config import Source, StudyPlan
from autocompress.core.errors import UsageError
from autocompress.data import Table, read_table
from autocompress.data.entities import OUTSIDE
from autocompress.data.ragged import Ragged
from autocompress.tasks import SPLITS, Rows, Task, TaskData, Tokens
from autocompress.tasks._labels import label_ids
from autocompress.tasks._text_rows import complete_splits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

UNLABELLED = -100  # what torch's cross_entropy ignores
NO_TOKEN = -1  # of a word that was cut off, or that the tokenizer drops


@dataclass(frozen=True)
class WordRows(Rows):
    """One split as lists of words; `labels` has one label of each word, and `texts` join the words by spaces."""

    words: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]  # of the labels

    def contents(self) -> Iterator[tuple[object, ...]]:
        yield from zip(self.words, (labels.tolist() for labels in _split(self.labels)), strict=True)

    def take(self, indices: np.ndarray) -> WordRows:
        words = tuple(self.words[index] for index in indices)
        return WordRows(_join(words), None, self.labels.take(indices), words, self.names)


@dataclass(frozen=True)
class WordTokens(Tokens):
    """One split as token ids. `labels` are of tokens: each word's first token has its label, the others have none."""

    word_labels: Ragged  # one of each word, those that were cut off too
    first_tokens: np.ndarray  # (words,) int64: index of each word's first token in its row, or NO_TOKEN
    names: tuple[str, ...]  # of the labels


def read_word_rows(plan: StudyPlan, task: Task, id2label: Mapping[int, str] | None) -> TaskData:
    """Read the splits of a study: a list of words and as many tags a row.

    Absent splits are cut, and all are sampled, so that rows with and without entities keep their proportion.
    """
    words, tags = (str(task.column(plan.task.columns, role)) for role in ("tokens", "tags"))
    sources = {split: getattr(plan.task.data, split) for split in SPLITS}
    tables = {
        split: read_table(source, plan.place(f"task.data.{split}"), (words, tags), (words, tags), plan.task.data.where)
        for split, source in sources.items()
        if source is not None
    }
    for table in tables.values():
        _check_table(table, words, tags)
    flat = {split: _flatten(table, tags) for split, table in tables.items()}
    labels = label_ids(
        flat, tags, id2label, head_is_new=plan.teacher.fine_tune is not None, is_trained_only=False
    )  # a rare tag may occur in test only
    splits: dict[str, Rows] = {
        split: _make_rows(table.columns[words], labels.ids[split], labels.names) for split, table in tables.items()
    }
    header = {"task": task.name, "labels": labels.names}

    def read_unlabelled(source: Source, place: str) -> Rows:
        column = task.column(plan.task.columns, "text") or words
        table = read_table(source, place, (column,), (column,), plan.task.data.where)
        lists = [_read_words(table, column, row) for row in range(len(table))]
        missing = np.full(sum(map(len, lists)), UNLABELLED, np.int64)
        return _make_rows([row for row in lists if row], missing, labels.names)

    return complete_splits(plan, splits, lambda labels_of: _has_entity(labels_of, labels.names), read_unlabelled,
                           labels.names, header)  # fmt: skip


def _check_table(table: Table, words: str, tags: str) -> None:
    """Raise UsageError where a row has no list of words, or other than one tag of each word."""
    for row, (texts, labels) in enumerate(zip(table.columns[words], table.columns[tags], strict=True)):
        for column, values, holds in ((words, texts, "words"), (tags, labels, "tags")):
            if not isinstance(values, list):
                raise UsageError(
                    f"{table.row_place(row)}: {column} must be a list of {holds}, but is {values!r:.60}; csv files cannot "
                    "hold lists, so use parquet, json or jsonl"
                )
        if not texts:
            raise UsageError(f"{table.row_place(row)}: {words} is an empty list; remove the row")
        _check_words(table, words, row)
        if len(texts) != len(labels):
            raise UsageError(
                f"{table.row_place(row)}: {words} has {len(texts)} words, but {tags} has {len(labels)} tags; every word "
                "needs one tag"
            )


def _check_words(table: Table, column: str, row: int) -> None:
    for word in table.columns[column][row]:
        if not isinstance(word, str):
            raise UsageError(f"{table.row_place(row)}: {column} must hold words only, but has {word!r:.60}")


def _flatten(table: Table, column: str) -> Table:
    """Return a column of lists as a table with a row of each value; places stay those of the lists."""
    counts = [len(values) for values in table.columns[column]]
    firsts = np.concatenate(([0], np.cumsum(counts)))
    return replace(
        table,
        columns={column: [value for values in table.columns[column] for value in values]},
        numbers=tuple(np.repeat(table.numbers, counts).tolist()),
        starts=tuple(int(firsts[start]) for start in table.starts),
    )


def _read_words(table: Table, column: str, row: int) -> list[str]:
    """Return the words of an unlabelled row: a list, or a text that is split at white space."""
    value = table.columns[column][row]
    if isinstance(value, str):
        return value.split()
    if not isinstance(value, list):
        raise UsageError(f"{table.row_place(row)}: {column} must be a list of words, or a text, but is {value!r:.60}")
    _check_words(table, column, row)
    return value


def _make_rows(lists: list[list[str]], labels: np.ndarray, names: tuple[str, ...]) -> WordRows:
    words = tuple(map(tuple, lists))
    return WordRows(_join(words), None, Ragged(labels, np.array([len(row) for row in words], np.int64)), words, names)


def _join(words: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(" ".join(row) for row in words)


def _split(labels: Ragged) -> list[np.ndarray]:
    """Return the labels of each row."""
    return np.split(labels.values, np.cumsum(labels.counts)[:-1]) if len(labels) else []


def _has_entity(labels: Ragged, names: tuple[str, ...]) -> np.ndarray:
    """Return 1 for each row (rows,) with a tag other than O, else 0; rows have at least one word."""
    outside = names.index(OUTSIDE) if OUTSIDE in names else UNLABELLED
    firsts = np.cumsum(labels.counts) - labels.counts
    return np.logical_or.reduceat(labels.values != outside, firsts).astype(np.int64)


def tokenize_words(rows: WordRows, tokenizer: PreTrainedTokenizerFast, max_tokens: int, batch: int) -> WordTokens:
    """Return the token ids of every row, truncated to `max_tokens` (with special tokens), and the first token of each word."""
    input_ids: list[np.ndarray] = []
    first_tokens: list[np.ndarray] = []
    for start in range(0, len(rows), batch):
        words = [list(row) for row in rows.words[start : start + batch]]
        encoded = tokenizer(
            words,
            is_split_into_words=True,
            truncation=True,
            max_length=max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        input_ids += [np.asarray(ids, np.int64) for ids in encoded["input_ids"]]
        first_tokens += [_find_first_tokens(encoded.word_ids(row), len(of_row)) for row, of_row in enumerate(words)]
    labels = [
        _label_tokens(len(ids), firsts, of_words)
        for ids, firsts, of_words in zip(input_ids, first_tokens, _split(rows.labels), strict=True)
    ]
    counts = np.array([len(ids) for ids in input_ids], np.int64)
    none = [np.empty(0, np.int64)]  # for a split without rows
    return WordTokens(
        tuple(input_ids), None, Ragged(np.concatenate(labels or none), counts),
        rows.labels, np.concatenate(first_tokens or none), rows.names,
    )  # fmt: skip


def _find_first_tokens(word_ids: list[int | None], words: int) -> np.ndarray:
    """Return the index of each word's first token (words,), given the word of each token."""
    firsts = np.full(words, NO_TOKEN, np.int64)
    for token, word in reversed(list(enumerate(word_ids))):
        if word is not None:
            firsts[word] = token
    return firsts


def _label_tokens(tokens: int, firsts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the labels of tokens (tokens,) from those of words."""
    of_tokens = np.full(tokens, UNLABELLED, np.int64)
    has_token = firsts != NO_TOKEN
    of_tokens[firsts[has_token]] = labels[has_token]
    return of_tokens
