"""Read, filter and check the rows of one split."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

from autocompress.config import HubData, Scalar, Source
from autocompress.config.messages import available
from autocompress.core.errors import UsageError
from autocompress.data.file_formats import SourceFile, SourceReader


@dataclass(frozen=True)
class Table:
    """Some columns of one split. `class_names` are the label names that the file declares."""

    place: str  # begins messages: the key in the study file
    columns: Mapping[str, list[Any]]
    class_names: Mapping[str, tuple[str, ...]]
    numbers: tuple[int, ...]  # number of each row in its file, from 1
    starts: tuple[int, ...]  # index of the first row of each file
    files: tuple[str, ...]  # names of the files

    def __len__(self) -> int:
        return len(self.numbers)

    def row_place(self, row: int) -> str:
        """Return where a row stands, for messages: `sst2.yaml: task.data.train: train.csv, row 12`."""
        return f"{self.place}: {self.files[bisect_right(self.starts, row) - 1]}, row {self.numbers[row]}"


def read_rows(
    source: Source,
    place: str,
    texts: Sequence[str],
    label: str | None,
    where: Mapping[str, Scalar],
    nulls_are_empty: bool = False,
) -> Table:
    """Return the rows of a source that pass the filter `where`, with the columns `texts` and `label` (null: texts only).

    `place` (e.g. `sst2.yaml: task.data.train`) begins the messages. UsageError if the source is missing or unreadable, lacks
    a column, holds a null, or if no row passes. With `nulls_are_empty`, a null text is an empty text.
    """
    table = read_table(source, place, tuple(texts) if label is None else (*texts, label), texts, where)
    if nulls_are_empty:
        texts_of_rows = {name: ["" if _is_null(text) else text for text in table.columns[name]] for name in texts}
        table = replace(table, columns={**table.columns, **texts_of_rows})
    _check_values(table, texts, label)
    return table


def read_texts(source: Source, place: str, columns: Sequence[str]) -> list[str]:
    """Return the texts of a source whose files may differ: of each file all those of `columns` that it has, in turn.

    Nulls are left out. Raises the errors of `read_rows`.
    """
    reader, texts = SourceReader(place, tuple(columns), (), any_of=tuple(columns)), []
    for file in _read_files(reader, source):
        for column, values in file.columns.items():
            for row, value in enumerate(values, 1):
                if not isinstance(value, str) and not _is_null(value):
                    raise UsageError(f"{place}: {file.name}, row {row}: {column} must be text, but is {value!r:.60}")
            texts += [value for value in values if isinstance(value, str)]
    return texts


def read_table(
    source: Source, place: str, columns: Sequence[str], texts: Sequence[str], where: Mapping[str, Scalar]
) -> Table:
    """Return some columns of the rows that pass the filter `where`, with values of any type, null too.

    `texts` are the columns that are never parsed as numbers. Raises the errors of `read_rows` that concern no value.
    """
    reader = SourceReader(place, tuple(texts), tuple(dict.fromkeys((*columns, *where))))
    files = list(_read_files(reader, source))
    table = _join_files(files, place, columns, where)
    if not len(table):
        raise UsageError(f"{place}: {_explain_empty(files, where)}")
    return table


def _read_files(reader: SourceReader, source: Source) -> Iterable[SourceFile]:
    return reader.read_hub(source) if isinstance(source, HubData) else reader.read_local(Path(source))


def _join_files(files: Sequence[SourceFile], place: str, columns: Sequence[str], where: Mapping[str, Any]) -> Table:
    class_names = files[0].class_names
    joined: dict[str, list[Any]] = {column: [] for column in columns}
    numbers: list[int] = []
    starts: list[int] = []
    for file in files:
        if any(file.class_names.get(column) != class_names.get(column) for column in columns):
            raise UsageError(f"{place}: {files[0].name} and {file.name} declare different label names")
        length = len(file.columns[columns[0]])
        kept = [
            row
            for row in range(length)
            if all(_equals(file.columns[column][row], value) for column, value in where.items())
        ]
        starts.append(len(numbers))
        numbers += [row + 1 for row in kept]
        for column in columns:
            joined[column] += [file.columns[column][row] for row in kept]
    return Table(place, joined, class_names, tuple(numbers), tuple(starts), tuple(file.name for file in files))


def _equals(value: Any, filter_value: Scalar) -> bool:
    """Compare as values or as texts: the column may hold 1 and the study file "1", or vice versa."""
    return bool(value == filter_value) or str(value) == str(filter_value)


def _explain_empty(files: Sequence[SourceFile], where: Mapping[str, Any]) -> str:
    names = ", ".join(file.name for file in files)
    for column, filter_value in where.items():
        values = {str(value) for file in files for value in file.columns[column]}
        if values and str(filter_value) not in values:
            hint = available(filter_value, sorted(values)[:12])
            return f"where: no row of {names} has {filter_value!r} in column {column}{hint}"
    return f"where: no row of {names} passes {dict(where)}" if where and files[0].columns else f"{names} has no rows"


def _check_values(table: Table, texts: Sequence[str], label: str | None) -> None:
    for column in texts:
        for row, value in enumerate(table.columns[column]):
            if not isinstance(value, str):
                if _is_null(value):
                    raise UsageError(f"{table.row_place(row)}: {column} is null; fill it in or remove the row")
                raise UsageError(f"{table.row_place(row)}: {column} must be text, but is {value!r:.60}")
    for row, value in enumerate(table.columns[label] if label is not None else ()):
        if _is_null(value):
            raise UsageError(f"{table.row_place(row)}: {label} is null; label the row or remove it")


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))
