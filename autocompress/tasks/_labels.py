"""Which label is which number: by name where names are known, for a swapped label is the dearest of silent mistakes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autocompress.config.messages import available
from autocompress.core.errors import UsageError
from autocompress.data import Table

Word = str | int  # a label as it stands in the data: its name, or a bare number


@dataclass(frozen=True)
class Labels:
    """The names in the order of the model's outputs, and every split's labels as their indices (rows,)."""

    names: tuple[str, ...]
    ids: Mapping[str, np.ndarray]


def label_ids(
    tables: Mapping[str, Table], column: str, id2label: Mapping[int, str] | None, head_is_new: bool = False
) -> Labels:
    """Number the labels of all splits (train among them).

    `id2label` is the model's, null where it has none. Where it holds names (not LABEL_0 …), labels map by name; where
    it does not, by the order the file declares, else sorted. With `head_is_new` (the teacher will be fine-tuned) a
    model that knows other labels is no error: the data's own count.
    """
    words = {split: _words(table, column) for split, table in tables.items()}
    declared = tables["train"].class_names.get(column)
    order = _Order.of_data(words["train"], declared)
    if id2label:
        problem = _disagreement(order, id2label)
        if not problem:
            order = order.by_model(id2label)
        elif not head_is_new:
            raise UsageError(f"{tables['train'].place}: {problem}")
    shown = {order.number(word) for word in set(words["train"])}
    ids = {split: _numbered(words[split], order, shown, table) for split, table in tables.items()}
    return Labels(order.names, ids)


@dataclass(frozen=True)
class _Order:
    names: tuple[str, ...]
    of_word: Mapping[Word, int]
    bare: bool = False  # whether the data has numbers only
    counted: bool = True  # whether the number of labels is declared, not merely the number seen
    by_name: bool = False  # whether the names are the model's, so that case does not matter

    @classmethod
    def of_data(cls, train: Sequence[Word], declared: tuple[str, ...] | None) -> _Order:
        seen = sorted(set(train), key=lambda word: (isinstance(word, str), word))
        bare = declared is None and isinstance(seen[0], int)
        names = declared or tuple(map(str, seen))
        of_word: dict[Word, int] = {name: index for index, name in enumerate(names)}
        of_word |= {word: index for index, word in enumerate(seen if bare else range(len(declared or ())))}
        return cls(names, of_word, bare, counted=declared is not None)

    def by_model(self, id2label: Mapping[int, str]) -> _Order:
        """The same words, numbered as the model numbers them."""
        names = _names(id2label)
        if self.bare:
            return _Order(names, {**{name: i for i, name in enumerate(names)}, **{i: i for i in range(len(names))}})
        if not _meaningful(id2label):
            return self
        of_word = {word: names.index(_match(self.names[i], names) or "") for word, i in self.of_word.items()}
        return _Order(names, of_word, by_name=True)

    def number(self, word: Word) -> int | None:
        """The index of a label, null where nobody knows it."""
        if self.by_name and isinstance(word, str):
            match = _match(word, self.names)
            return None if match is None else self.names.index(match)
        return self.of_word.get(word)


def _disagreement(order: _Order, id2label: Mapping[int, str]) -> str | None:
    """Why the labels of the data cannot be the model's, or null."""
    names = _names(id2label)
    if order.bare:
        if sorted(map(int, order.names)) != list(range(len(names))):
            found = ", ".join(order.names[:12])
            return (
                f"the model knows {len(names)} labels, 0 to {len(names) - 1}, but train has {found}; "
                "give the labels by name, or a train split that shows them all"
            )
        return None
    if _meaningful(id2label):
        strange = [name for name in order.names if _match(name, names) is None]
        if strange:
            return f"the model knows no label {strange[0]!r}{available(strange[0], names[:20])}"
    if len(order.names) != len(names) and (order.counted or not _meaningful(id2label)):
        return f"train has {len(order.names)} labels ({', '.join(order.names[:12])}), but the model knows {len(names)}"
    return None


def _meaningful(id2label: Mapping[int, str]) -> bool:
    return not all(re.fullmatch(r"LABEL_\d+", str(name)) for name in id2label.values())


def _names(id2label: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(id2label[index] for index in sorted(id2label))


def _match(name: str, names: Sequence[str]) -> str | None:
    """The model's spelling of a label: the same, or the only one that differs in case alone (positive, POSITIVE)."""
    if name in names:
        return name
    alike = [other for other in names if other.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None


def _words(table: Table, column: str) -> list[Word]:
    """The labels as names where the file declares names, else as they stand."""
    values, names = table.columns[column], table.class_names.get(column)
    words = [_word(value, names, table, row) for row, value in enumerate(values)]
    kinds = {type(word) for word in words}
    if len(kinds) > 1:
        row = next(row for row, word in enumerate(words) if type(word) is not type(words[0]))
        raise UsageError(f"{table.at(row)}: {column} mixes names and numbers: {words[row]!r} beside {words[0]!r}")
    return words


def _word(value: Any, names: tuple[str, ...] | None, table: Table, row: int) -> Word:
    if isinstance(value, str):
        return value
    if not isinstance(value, (int, float)) or not float(value).is_integer():
        raise UsageError(f"{table.at(row)}: a label is a name or a whole number, but got {value!r:.60}")
    number = int(value)
    if number < 0:
        raise UsageError(
            f"{table.at(row)}: label {number} means unlabelled; remove such rows, or leave the split out "
            "so that it is cut from train"
        )
    if names is None:
        return number
    if number >= len(names):
        raise UsageError(f"{table.at(row)}: label {number}, but the file declares only {len(names)} label names")
    return names[number]


def _numbered(words: Sequence[Word], order: _Order, shown: set[int | None], table: Table) -> np.ndarray:
    numbers = {word: order.number(word) for word in set(words)}
    ids = np.empty(len(words), np.int64)
    for row, word in enumerate(words):
        number = numbers[word]
        if number is None or number not in shown:
            known = ", ".join(order.names[index] for index in sorted(i for i in shown if i is not None)[:20])
            raise UsageError(f"{table.at(row)}: train never shows the label {word!r}; it has: {known}")
        ids[row] = number
    return ids
