"""Number the labels of the data as the model numbers them.

Labels are matched by name where both sides have names, since swapped labels would be a silent mistake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autocompress.config.messages import available
from autocompress.core.errors import UsageError
from autocompress.data import Table

RawLabel = str | int  # a label as the data has it: its name, or a number without a name


@dataclass(frozen=True)
class Labels:
    """The label names in the order of the model's outputs, and the label ids of every split, each (rows,)."""

    names: tuple[str, ...]
    ids: Mapping[str, np.ndarray]


def label_ids(
    tables: Mapping[str, Table],
    column: str,
    id2label: Mapping[int, str] | None,
    head_is_new: bool = False,
    is_trained_only: bool = True,
) -> Labels:
    """Return the label ids of all splits (train among them); UsageError if data and model disagree.

    `id2label` is the model's, or null. If it has names (not LABEL_0 …), labels are matched by name; otherwise their order is
    the one that the file declares, or the sorted order. With `head_is_new` (the teacher will be fine-tuned), a model with
    other labels is no error: the labels of the data are used. Every label must occur in train, unless a model or file that
    names it suffices (`is_trained_only` is false).
    """
    raw_labels = {split: _read_labels(table, column) for split, table in tables.items()}
    declared_names = tables["train"].class_names.get(column)
    numbering = _Numbering.of_data(raw_labels["train"], declared_names)
    if id2label:
        problem = _find_disagreement(numbering, id2label)
        if not problem:
            numbering = numbering.of_model(id2label)
        elif not head_is_new:
            raise UsageError(f"{tables['train'].place}: {problem}")
    known_ids = set(range(len(numbering.names)))
    if is_trained_only:
        known_ids = {label_id for label in set(raw_labels["train"]) if (label_id := numbering.id_of(label)) is not None}
    ids = {split: _number_labels(raw_labels[split], numbering, known_ids, table) for split, table in tables.items()}
    return Labels(numbering.names, ids)


@dataclass(frozen=True)
class _Numbering:
    """The label names in order, and the id of each raw label."""

    names: tuple[str, ...]
    ids: Mapping[RawLabel, int]
    is_unnamed: bool = False  # the data has numbers only
    is_complete: bool = True  # the number of labels is declared, not merely counted in train
    has_model_names: bool = False  # the names are the model's, so that their case is ignored

    @classmethod
    def of_data(cls, train: Sequence[RawLabel], declared_names: tuple[str, ...] | None) -> _Numbering:
        """Return the numbering of the data: the declared order, or the sorted order of the labels in train."""
        distinct = sorted(set(train), key=lambda label: (isinstance(label, str), label))
        is_unnamed = declared_names is None and isinstance(distinct[0], int)
        names = declared_names or tuple(map(str, distinct))
        ids: dict[RawLabel, int] = {name: index for index, name in enumerate(names)}
        numbers = distinct if is_unnamed else range(len(declared_names or ()))
        ids |= {number: index for index, number in enumerate(numbers)}
        return cls(names, ids, is_unnamed, is_complete=declared_names is not None)

    def of_model(self, id2label: Mapping[int, str]) -> _Numbering:
        """Return the same raw labels, numbered as the model numbers them."""
        names = _names_in_order(id2label)
        if self.is_unnamed:
            either: dict[RawLabel, int] = {name: index for index, name in enumerate(names)}
            return _Numbering(names, either | {index: index for index in range(len(names))})
        if not _has_names(id2label):
            return self
        ids = {label: names.index(_match_name(self.names[index], names) or "") for label, index in self.ids.items()}
        return _Numbering(names, ids, has_model_names=True)

    def id_of(self, label: RawLabel) -> int | None:
        """Return the id of a raw label, or null if it is unknown."""
        if self.has_model_names and isinstance(label, str):
            name = _match_name(label, self.names)
            return None if name is None else self.names.index(name)
        return self.ids.get(label)


def _find_disagreement(numbering: _Numbering, id2label: Mapping[int, str]) -> str | None:
    """Return why the labels of the data cannot be the model's, or null."""
    names = _names_in_order(id2label)
    if numbering.is_unnamed:
        if sorted(map(int, numbering.names)) != list(range(len(names))):
            return (
                f"the model has {len(names)} labels, 0 to {len(names) - 1}, but train has "
                f"{', '.join(numbering.names[:12])}; use label names, or a train split with every label"
            )
        return None
    if _has_names(id2label):
        unknown = [name for name in numbering.names if _match_name(name, names) is None]
        if unknown:
            return f"the model has no label {unknown[0]!r}{available(unknown[0], names[:20])}"
    if len(numbering.names) != len(names) and (numbering.is_complete or not _has_names(id2label)):
        shown = ", ".join(numbering.names[:12])
        return f"train has {len(numbering.names)} labels ({shown}), but the model has {len(names)}"
    return None


def _has_names(id2label: Mapping[int, str]) -> bool:
    return not all(re.fullmatch(r"LABEL_\d+", str(name)) for name in id2label.values())


def _names_in_order(id2label: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(id2label[index] for index in sorted(id2label))


def _match_name(name: str, names: Sequence[str]) -> str | None:
    """Return the name in `names` that equals a name, or else the only one that differs in case (positive, POSITIVE)."""
    if name in names:
        return name
    candidates = [candidate for candidate in names if candidate.casefold() == name.casefold()]
    return candidates[0] if len(candidates) == 1 else None


def _read_labels(table: Table, column: str) -> list[RawLabel]:
    """Return the labels as names where the file declares names, else as the file has them."""
    values, names = table.columns[column], table.class_names.get(column)
    labels = [_read_label(value, names, table, row) for row, value in enumerate(values)]
    if len({type(label) for label in labels}) > 1:
        row = next(row for row, label in enumerate(labels) if type(label) is not type(labels[0]))
        raise UsageError(
            f"{table.row_place(row)}: {column} mixes names and numbers: {labels[row]!r} and {labels[0]!r}; use one kind"
        )
    return labels


def _read_label(value: Any, names: tuple[str, ...] | None, table: Table, row: int) -> RawLabel:
    if isinstance(value, str):
        return value
    if not isinstance(value, (int, float)) or not float(value).is_integer():
        raise UsageError(f"{table.row_place(row)}: a label must be a name or a whole number, but got {value!r:.60}")
    number = int(value)
    if number < 0:
        raise UsageError(
            f"{table.row_place(row)}: label {number} means unlabelled; remove such rows, or leave the split out "
            "so that it is cut from train"
        )
    if names is None:
        return number
    if number >= len(names):
        raise UsageError(f"{table.row_place(row)}: label {number}, but the file declares only {len(names)} label names")
    return names[number]


def _number_labels(labels: Sequence[RawLabel], numbering: _Numbering, known_ids: set[int], table: Table) -> np.ndarray:
    id_of = {label: numbering.id_of(label) for label in set(labels)}
    ids = np.empty(len(labels), np.int64)
    for row, label in enumerate(labels):
        label_id = id_of[label]
        if label_id is None or label_id not in known_ids:
            names = ", ".join(numbering.names[index] for index in sorted(known_ids)[:20])
            raise UsageError(f"{table.row_place(row)}: train has no row with label {label!r}; available: {names}")
        ids[row] = label_id
    return ids
