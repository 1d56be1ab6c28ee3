"""The rows of sentence embeddings: any texts to train on, and labelled pairs or other texts to judge by."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from autocompress.config import Source, StudyPlan
from autocompress.core.errors import UsageError
from autocompress.data import read_rows, read_texts, sample_rows
from autocompress.data.passages import count_words, cut_text
from autocompress.data.ragged import Ragged
from autocompress.data.splits import SMALLEST_CUT
from autocompress.tasks import SPLITS, Rows, Task, TaskData
from autocompress.tasks._numbers import quantile_bins, read_numbers
from autocompress.tasks._text_rows import cut_absent_splits, fingerprint_of, sample_split

LEAST_WORDS = 3  # shorter texts are headings and gaps
BINS = 10  # quantile bins of the labels, by which splits are stratified
UNLABELLED = np.float32("nan")


@dataclass(frozen=True)
class _Columns:
    text: str
    pair: str | None  # null: no split has labelled pairs
    label: str | None
    train: str  # the column of texts in train and unlabelled
    train_has_pairs: bool  # whether train is a file of labelled pairs, too

    @property
    def has_pairs(self) -> bool:
        return self.pair is not None


@dataclass
class _Reader:
    """Reads the sources of one study, and notes how many rows it leaves out."""

    plan: StudyPlan
    columns: _Columns
    notes: list[str] = field(default_factory=list)

    def read_pairs(self, source: Source, split: str, with_labels: bool) -> Rows:
        """Read labelled pairs; without `with_labels` their labels are not read."""
        columns, place = self.columns, self.plan.place(f"task.data.{split}")
        texts, label = [columns.text, str(columns.pair)], columns.label if with_labels else None
        table = read_rows(source, place, texts, label, self.plan.task.data.where)
        labels = np.full(len(table), UNLABELLED)
        if label is not None:
            labels = read_numbers(table, label, "leave columns.text_pair and columns.label out")
            if np.ptp(labels) == 0:
                raise UsageError(
                    f"{place}: every pair has the same {label}, {labels[0]:g}; different numbers are needed"
                )
        return Rows(tuple(table.columns[texts[0]]), tuple(table.columns[texts[1]]), Ragged.one_each(labels))

    def read_texts(self, source: Source, split: str, column: str) -> Rows:
        """Read texts; those of a few words and repeated ones are left out."""
        place = self.plan.place(f"task.data.{split}")
        table = read_rows(source, place, [column], None, self.plan.task.data.where, nulls_are_empty=True)
        return self.leave_out(_single_texts(table.columns[column]), split, frozenset())

    def cut_long_texts(self, rows: Rows, split: str) -> Rows:
        """Return texts to train on, where those with more words than `max_tokens` are cut into passages."""
        most = self.plan.task.max_tokens
        passages = [passage for text in rows.texts for passage in cut_text(text, most)]
        if len(passages) > len(rows):
            place = self.plan.place(f"task.data.{split}")
            self.notes.append(
                f"{place}: {len(rows):,} texts are cut at ends of sentences into {len(passages):,}, since task.max_tokens is"
                f" {most}"
            )
        return _single_texts(passages)

    def leave_out(self, rows: Rows, split: str, others: frozenset[Hashable]) -> Rows:
        """Return the texts of a split without short ones, repeated ones, and those of other splits."""
        long = [index for index, text in enumerate(rows.texts) if count_words(text) >= LEAST_WORDS]
        keys = rows.take(np.array(long, np.int64)).text_keys()
        first = dict(reversed(list(zip(keys, long, strict=True))))
        kept = sorted(index for key, index in first.items() if key not in others)
        short, repeated, shared = len(rows) - len(long), len(long) - len(first), len(first) - len(kept)
        counts = {f"shorter than {LEAST_WORDS} words": short, "repeated": repeated, "in another split": shared}
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
        if reasons:
            place = self.plan.place(f"task.data.{split}")
            self.notes.append(f"{place}: {len(rows) - len(kept):,} of {len(rows):,} texts are left out: {reasons}")
        return rows.take(np.array(kept, np.int64))


def read_embedding_rows(plan: StudyPlan, task: Task) -> TaskData:
    """Read the splits of a study: texts to train on, and labelled pairs, or else texts, to judge by.

    Texts of validation and test are removed from train and from the unlabelled texts. Those that a candidate learns from
    are cut at ends of sentences where it would not read them whole.
    """
    reader = _Reader(plan, _read_columns(plan, task))
    splits = _read_splits(reader)
    cut_absent_splits(splits, plan, _strata)
    validation, test = (sample_split(splits[split], split, plan, _strata) for split in SPLITS[1:])
    judged = frozenset(_text_keys((validation, test)))
    passages = reader.cut_long_texts(_flat(splits["train"]), "train")
    train = sample_split(reader.leave_out(passages, "train", judged), "train", plan, _strata)
    unlabelled = _read_unlabelled(reader, judged | frozenset(_text_keys([train])))
    for split, rows in zip(SPLITS, (train, validation, test), strict=True):
        _check_size(plan, split, rows)
    parts = (train, validation, test, unlabelled)
    fingerprint = fingerprint_of({"task": task.name}, parts)
    return TaskData(train, validation, test, unlabelled, (), fingerprint, tuple(reader.notes))


def flat_texts(rows: Rows) -> tuple[str, ...]:
    """Return the texts of rows; the two texts of a pair stand one after the other."""
    if rows.pairs is None:
        return rows.texts
    return tuple(text for pair in zip(rows.texts, rows.pairs, strict=True) for text in pair)


def _read_columns(plan: StudyPlan, task: Task) -> _Columns:
    names = plan.task.columns
    text, pair, label, train = (task.column(names, role) for role in ("text", "text_pair", "label", "train_text"))
    if (pair is None) != (label is None):
        missing = "label" if label is None else "text_pair"
        raise UsageError(
            f"{plan.place('task.columns')}: {missing} is missing; label is the similarity of text and text_pair, so name all"
            " three, or text alone"
        )
    return _Columns(str(text), pair, label, train or str(text), pair is not None and train is None)


def _read_splits(reader: _Reader) -> dict[str, Rows]:
    """Return the splits that have a source."""
    data, columns = reader.plan.task.data, reader.columns
    sources = {split: source for split in SPLITS[1:] if (source := getattr(data, split)) is not None}
    if columns.train_has_pairs:
        splits = {"train": reader.read_pairs(data.train, "train", with_labels=len(sources) < len(SPLITS) - 1)}
    else:
        splits = {"train": reader.read_texts(data.train, "train", columns.train)}
    for split, source in sources.items():
        has_pairs = columns.has_pairs
        splits[split] = (
            reader.read_pairs(source, split, True) if has_pairs else reader.read_texts(source, split, columns.text)
        )
    return splits


def _read_unlabelled(reader: _Reader, others: frozenset[Hashable]) -> Rows:
    data = reader.plan.task.data
    if data.unlabelled is None:
        return _single_texts(())
    place = reader.plan.place("task.data.unlabelled")
    column = reader.columns.train
    if data.unlabelled_columns is not None:
        texts = read_texts(data.unlabelled, place, data.unlabelled_columns)
    else:
        texts = read_rows(data.unlabelled, place, [column], None, data.where, nulls_are_empty=True).columns[column]
    passages = reader.cut_long_texts(_single_texts(texts), "unlabelled")
    rows = reader.leave_out(passages, "unlabelled", others)
    limit = data.max_unlabelled_rows or len(rows)
    return rows.take(sample_rows(np.zeros(len(rows), np.int64), limit, reader.plan.seed, "sample unlabelled"))


def _check_size(plan: StudyPlan, split: str, rows: Rows) -> None:
    if len(rows) < SMALLEST_CUT:
        kind = "texts" if rows.pairs is None else "pairs"
        raise UsageError(
            f"{plan.place(f'task.data.{split}')}: {len(rows)} {kind} remain after filters and limits; at least"
            f" {SMALLEST_CUT} are needed"
        )


def _single_texts(texts: Sequence[str]) -> Rows:
    return Rows(tuple(texts), None, Ragged.one_each(np.full(len(texts), UNLABELLED)))


def _flat(rows: Rows) -> Rows:
    return _single_texts(flat_texts(rows))


def _text_keys(splits: Iterable[Rows]) -> list[Hashable]:
    return [key for rows in splits for key in _flat(rows).text_keys()]


def _strata(labels: Ragged) -> np.ndarray:
    """Return the stratum (rows,) of each row: bins of the labels, or one for all where there are none."""
    if np.isnan(labels.values).any():
        return np.zeros(len(labels), np.int64)
    return quantile_bins(labels.values, BINS)
