"""Rows of one split: read, filtered and checked, in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from autocompress.config import HubData, Scalar, Source
from autocompress.config.messages import available
from autocompress.core.errors import UsageError
from autocompress.data.files import SourceFile, SourceReader


@dataclass(frozen=True)
class Table:
    """Some columns of one split, without nulls. `class_names` are the label names that the file itself declares."""

    place: str  # the key of the study file
    columns: Mapping[str, list[Any]]
    class_names: Mapping[str, tuple[str, ...]]
    numbers: tuple[int, ...]  # row number of each row in its file, from 1
    starts: tuple[int, ...]  # first row of each file
    files: tuple[str, ...]  # their names

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, row: int) -> str:
        """Where a row stands, for messages: `sst2.yaml: task.data.train: train.csv, row 12`."""
        return f"{self.place}: {self.files[bisect_right(self.starts, row) - 1]}, row {self.numbers[row]}"


def read_rows(
    source: Source, place: str, texts: Sequence[str], label: str | None, where: Mapping[str, Scalar]
) -> Table:
    """The rows of a source that pass `where`, with the columns `texts` and `label` (null: texts alone).

    `place` (e.g. `sst2.yaml: task.data.train`) begins every message. UsageError for what is missing, empty, unreadable,
    not named so, null, or filtered away to nothing.
    """
    columns = tuple(texts) if label is None else (*texts, label)
    reader = SourceReader(place, tuple(texts), tuple(dict.fromkeys((*columns, *where))))
    parts = list(reader.hub(source) if isinstance(source, HubData) else reader.local(Path(source)))
    table = _joined(parts, place, columns, where)
    if not len(table):
        raise UsageError(f"{place}: {_why_empty(parts, where)}")
    _check_values(table, texts, label)
    return table


def _joined(parts: Sequence[SourceFile], place: str, columns: Sequence[str], where: Mapping[str, Any]) -> Table:
    names = parts[0].class_names
    joined: dict[str, list[Any]] = {column: [] for column in columns}
    numbers: list[int] = []
    starts: list[int] = []
    for part in parts:
        if any(part.class_names.get(column) != names.get(column) for column in columns):
            raise UsageError(f"{place}: {parts[0].name} and {part.name} declare different label names")
        length = len(part.columns[columns[0]])
        kept = [
            row for row in range(length) if all(_equal(part.columns[c][row], wanted) for c, wanted in where.items())
        ]
        starts.append(len(numbers))
        numbers += [row + 1 for row in kept]
        for column in columns:
            joined[column] += [part.columns[column][row] for row in kept]
    return Table(place, joined, names, tuple(numbers), tuple(starts), tuple(part.name for part in parts))


def _equal(value: Any, wanted: Scalar) -> bool:
    """A column may hold 1 where the study file says "1", and the other way round."""
    return bool(value == wanted) or str(value) == str(wanted)


def _why_empty(parts: Sequence[SourceFile], where: Mapping[str, Any]) -> str:
    names = ", ".join(part.name for part in parts)
    for column, wanted in where.items():
        values = {str(value) for part in parts for value in part.columns[column]}
        if values and str(wanted) not in values:
            return f"no row of {names} has {column} {wanted!r} (where){available(wanted, sorted(values)[:12])}"
    return f"no row of {names} passes where: {dict(where)}" if where and parts[0].columns else f"{names} holds no rows"


def _check_values(table: Table, texts: Sequence[str], label: str | None) -> None:
    for column in texts:
        for row, value in enumerate(table.columns[column]):
            if not isinstance(value, str):
                found = "is null; fill it in or remove the row" if _null(value) else f"is no text but {value!r:.60}"
                raise UsageError(f"{table.at(row)}: {column} {found}")
    for row, value in enumerate(table.columns[label] if label is not None else ()):
        if _null(value):
            raise UsageError(f"{table.at(row)}: {label} is null; label the row or remove it")


def _null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))
