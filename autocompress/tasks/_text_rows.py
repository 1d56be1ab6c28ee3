"""The rows of tasks that read texts: files, absent splits, samples, unlabelled texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autocompress.config import Source, StudyPlan
from autocompress.core.errors import UsageError
from autocompress.data import Table, cut_rows, cut_size, read_rows, read_texts, sample_rows
from autocompress.data.ragged import Ragged
from autocompress.data.splits import SMALLEST_CUT
from autocompress.tasks import SPLITS, Rows, Task, TaskData
from autocompress.tasks._agreement_rows import keep_agreement_rows

Strata = Callable[[Ragged], np.ndarray]  # labels -> the stratum (rows,) of each row, from 0


@dataclass(frozen=True)
class SplitLabels:
    """The labels of every split that has a file."""

    names: tuple[str, ...]  # empty where labels have no names
    by_split: Mapping[str, np.ndarray]  # each (rows, …)
    missing: np.ndarray  # (…): the label of an unlabelled text
    rows_per_label: bool = False  # whether a sample of train must hold each label


def read_text_rows(
    plan: StudyPlan,
    task: Task,
    read_labels: Callable[[Mapping[str, Table], str], SplitLabels],
    strata: Strata,
    header: object,
) -> TaskData:
    """Read the splits of a study: one text or a pair and one label a row.

    `read_labels` takes the tables by split and the label's column. Absent splits are cut and all are sampled by `strata`.
    `header` (JSON) begins what the fingerprint covers.
    """
    names = plan.task.columns
    texts = [name for role in ("text", "text_pair") if (name := task.column(names, role)) is not None]
    label = str(task.column(names, "label"))
    sources = {split: getattr(plan.task.data, split) for split in SPLITS}
    tables = {
        split: read_rows(source, plan.place(f"task.data.{split}"), texts, label, plan.task.data.where)
        for split, source in sources.items()
        if source is not None
    }
    labels = read_labels(tables, label)
    splits = {split: _rows(table, texts, labels.by_split[split]) for split, table in tables.items()}

    def read_unlabelled(source: Source, place: str) -> Rows:
        columns = plan.task.data.unlabelled_columns
        if columns is not None:
            more = [text for text in read_texts(source, place, columns) if text.strip()]
            missing = np.full((len(more), *labels.missing.shape), labels.missing)
            return Rows(tuple(more), None, Ragged.one_each(missing))
        table = read_rows(source, place, texts, None, plan.task.data.where)
        return _rows(table, texts, np.full((len(table), *labels.missing.shape), labels.missing))

    header = labels.names if header is None else header
    data = complete_splits(plan, splits, strata, read_unlabelled, labels.names, header, labels.rows_per_label)
    return keep_agreement_rows(plan, data, splits["train"], strata) if task.has_confidence else data


def complete_splits(
    plan: StudyPlan,
    splits: dict[str, Rows],
    strata: Strata,
    read_unlabelled: Callable[[Source, str], Rows],  # takes the place of its messages
    label_names: tuple[str, ...],
    header: object,
    rows_per_label: bool = False,
) -> TaskData:
    """Cut the splits that are absent from train, sample all of them, and add the unlabelled texts.

    `header` (JSON) begins what the fingerprint covers. With `rows_per_label`, a sample of train must hold every stratum.
    """
    cut_absent_splits(splits, plan, strata)
    train, validation, test = (sample_split(splits[split], split, plan, strata, rows_per_label) for split in SPLITS)
    unlabelled = _select_unlabelled(plan, (train, validation, test), read_unlabelled)
    parts = (train, validation, test) + ((unlabelled,) if len(unlabelled) else ())
    return TaskData(train, validation, test, unlabelled, label_names, fingerprint_of(header, parts))


def show_text(rows: Rows, row: int) -> str:
    """Return the text of a row for a page; both texts of a pair."""
    return rows.texts[row] if rows.pairs is None else f"{rows.texts[row]} ¦ {rows.pairs[row]}"


def _rows(table: Table, texts: Sequence[str], labels: np.ndarray) -> Rows:
    pairs = tuple(table.columns[texts[1]]) if len(texts) > 1 else None
    return Rows(tuple(table.columns[texts[0]]), pairs, Ragged.one_each(labels))


def _select_unlabelled(plan: StudyPlan, splits: Sequence[Rows], read: Callable[[Source, str], Rows]) -> Rows:
    """Read the unlabelled texts without duplicates and without texts of a split, so that no split leaks into training."""
    data = plan.task.data
    if data.unlabelled is None:
        return splits[0].take(np.arange(0))
    rows = read(data.unlabelled, plan.place("task.data.unlabelled"))
    split_keys = {key for split in splits for key in split.text_keys()}
    first_rows = {key: row for row, key in reversed(list(enumerate(rows.text_keys()))) if key not in split_keys}
    kept = np.sort(np.fromiter(first_rows.values(), np.int64, len(first_rows)))
    limit = data.max_unlabelled_rows or len(kept)
    return rows.take(kept[sample_rows(np.zeros(len(kept), np.int64), limit, plan.seed, "sample unlabelled")])


def cut_absent_splits(splits: dict[str, Rows], plan: StudyPlan, strata: Strata) -> None:
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
        mask = cut_rows(train.text_keys(), strata(train.labels), rows, plan.seed, f"cut {split}")
        splits[split], splits["train"] = train.take(np.flatnonzero(mask)), train.take(np.flatnonzero(~mask))


def sample_split(rows: Rows, split: str, plan: StudyPlan, strata: Strata, rows_per_label: bool = False) -> Rows:
    """Return at most as many rows of a split as the study file wants; `rows_per_label`: train must hold each label."""
    key = f"max_{split}_rows"
    limit = getattr(plan.task.data, key)
    if limit is None:
        return rows
    groups = strata(rows.labels)
    labels = len(np.unique(groups))
    if split == "train" and rows_per_label and limit < labels:
        raise UsageError(
            f"{plan.place(f'task.data.{key}')}: at least {labels} rows are needed, one per label, but got {limit}"
        )
    return rows.take(sample_rows(groups, limit, plan.seed, f"sample {split}"))


def fingerprint_of(header: object, splits: Sequence[Rows]) -> str:
    """Return the sha256 of the rows of several splits, after a header (JSON)."""
    digest = hashlib.sha256(json.dumps(header).encode())
    for rows in splits:
        digest.update(f"\n{len(rows)} rows\n".encode())
        for row in rows.contents():
            digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()
