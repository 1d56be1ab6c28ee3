"""Read parquet, csv, json and jsonl files, folders, globs and data sets on the hub, without conversion.

Files are read with pyarrow and json, since `datasets` would leave a converted copy of every file in the user's home.
`datasets` reads data sets on the hub, and folders written by its `save_to_disk`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autocompress.config import HubData
from autocompress.config.messages import available
from autocompress.config.paths import DATA_SUFFIXES
from autocompress.core.errors import UsageError

SPLIT_WORDS = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation", "test": "test"}


@dataclass(frozen=True)
class SourceFile:
    """The content of one file, unchanged."""

    name: str
    columns: dict[str, list[Any]]  # the needed columns
    class_names: dict[str, tuple[str, ...]]  # label names that the file declares, by column


@dataclass(frozen=True)
class SourceReader:
    """Reads the needed columns of a source; `place` begins the messages."""

    place: str
    texts: tuple[str, ...]  # columns that are never parsed as numbers
    needed: tuple[str, ...]
    any_of: tuple[str, ...] = ()  # further columns, of which a file needs one

    def read_local(self, path: Path) -> Iterable[SourceFile]:
        """Read a file, the files of a folder or a glob, or a folder written by `save_to_disk`."""
        if path.is_dir():
            if (path / "state.json").is_file():
                return [self._read_saved(path)]
            files = self._list_folder(path)
        else:
            matches = [path] if path.is_file() else map(Path, glob(str(path), recursive=True))
            files = sorted(file for file in matches if file.suffix.lower() in DATA_SUFFIXES)
            if not files:
                raise UsageError(
                    f"{self.place}: there is no file {path} with a known suffix; available: {', '.join(DATA_SUFFIXES)}"
                )
        return (self._read_file(file) for file in files)

    def read_hub(self, source: HubData) -> Iterable[SourceFile]:
        """Read one split of a data set on the hub, or of a local folder of the same layout, which leaves no cache."""
        import datasets

        with TemporaryDirectory() as cache:
            is_local = Path(source.path).is_absolute()
            try:
                loaded = datasets.load_dataset(
                    source.path,
                    source.config,
                    revision=source.revision,
                    split=source.split,
                    cache_dir=cache if is_local else None,
                )
            except Exception as error:  # the libraries below the hub's client raise errors of many types
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UsageError(
                    f"{self.place}: the data set {source.path} (split {source.split}) cannot be loaded: "
                    f"{reason[:300]}; check path, config, split and the network, or name local files"
                ) from None
            return [self._read_dataset(loaded, f"{source.path}[{source.split}]")]

    def _list_folder(self, folder: Path) -> list[Path]:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in DATA_SUFFIXES and file.is_file())
        if (folder / "dataset_dict.json").is_file():
            names = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir()))
            raise UsageError(f"{self.place}: {folder} has several splits; name one of its folders; available: {names}")
        if not files:
            raise UsageError(f"{self.place}: the folder {folder} has no {', '.join(DATA_SUFFIXES)} file")
        splits = {SPLIT_WORDS.get(file.stem.replace("_", "-").split("-")[0].lower()) for file in files} - {None}
        if len(splits) > 1:
            names = ", ".join(file.name for file in files)
            raise UsageError(f"{self.place}: {folder} has several splits ({names}); name one file, or a glob")
        return files

    def _read_file(self, path: Path) -> SourceFile:
        if path.stat().st_size == 0:
            raise UsageError(f"{self.place}: {path} is empty (0 bytes)")
        read = {".parquet": self._read_parquet, ".csv": self._read_csv}.get(path.suffix.lower(), self._read_json)
        try:
            return read(path)
        except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's errors are subclasses of these
            reason = " ".join(str(error).split())
            raise UsageError(f"{self.place}: {path} cannot be read as {path.suffix[1:]}: {reason[:300]}") from None

    def _read_parquet(self, path: Path) -> SourceFile:
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            present = self._choose_columns(file.schema_arrow.names, path.name)
            table = file.read(columns=present)
        metadata = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
        features = metadata.get("info", {}).get("features", {})
        names = {column: _declared_names(features[column]) for column in present if column in features}
        declared = {column: values for column, values in names.items() if values}
        return SourceFile(path.name, {column: table[column].to_pylist() for column in present}, declared)

    def _read_csv(self, path: Path) -> SourceFile:
        import pyarrow as pa
        from pyarrow import csv

        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={column: pa.string() for column in self.texts},
                null_values=[""],  # an empty cell is null, "" is an empty text, and NA is a word
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        present = self._choose_columns(table.column_names, path.name)
        return SourceFile(path.name, {column: table[column].to_pylist() for column in present}, {})

    def _read_json(self, path: Path) -> SourceFile:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
            rows = [_parse_json_line(number, line) for number, line in lines]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("every row must be an object, {column: value}")
        present = self._choose_columns(list(dict.fromkeys(key for row in rows for key in row)), path.name)
        return SourceFile(path.name, {column: [row.get(column) for row in rows] for column in present}, {})

    def _read_saved(self, folder: Path) -> SourceFile:
        import datasets

        try:
            loaded = datasets.load_from_disk(str(folder))
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.place}: {folder} cannot be read: {' '.join(str(error).split())}") from None
        return self._read_dataset(loaded, folder.name)

    def _read_dataset(self, loaded: Any, name: str) -> SourceFile:
        present = self._choose_columns(loaded.column_names, name)
        loaded = loaded.select_columns(present)
        names = {
            column: getattr(getattr(feature, "feature", feature), "names", None)  # of a label, or of a list of labels
            for column, feature in loaded.features.items()
        }
        return SourceFile(
            name,
            {column: list(loaded[column]) for column in present},
            {column: tuple(values) for column, values in names.items() if values},
        )

    def _choose_columns(self, names: Sequence[str], file: str) -> list[str]:
        """Return the columns to read of a file that has the columns `names`."""
        for column in self.needed:
            if column not in names:
                raise UsageError(f"{self.place}: {file} has no column {column!r}{available(column, names)}")
        present = [column for column in self.any_of if column in names]
        if self.any_of and not present:
            wanted = ", ".join(self.any_of)
            raise UsageError(f"{self.place}: {file} has none of the columns {wanted}; it has {', '.join(names)}")
        return list(dict.fromkeys((*self.needed, *present)))


def column_names(path: Path) -> list[str]:
    """Return the columns of a data file; UsageError if it cannot be read."""
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            return list(parquet.read_schema(path).names)
        if path.suffix.lower() == ".csv":
            from pyarrow import csv

            return list(csv.open_csv(path).schema.names)
        text = path.read_text(encoding="utf-8-sig").lstrip()
        first = json.loads(text)[0] if text.startswith("[") else json.loads(text.partition("\n")[0])
        return list(first)
    except (OSError, ValueError, NotImplementedError, IndexError, TypeError) as error:  # the last two: no rows
        reason = " ".join(str(error).split())
        raise UsageError(f"DATA: {path} cannot be read as {path.suffix[1:]}: {reason[:300]}") from None


def _declared_names(feature: object) -> tuple[str, ...]:
    """Return the label names in the Hugging Face metadata of a column of labels, or of lists of labels; else nothing."""
    if isinstance(feature, list):  # as old versions of `datasets` write a list
        return _declared_names(feature[0]) if len(feature) == 1 else ()
    if not isinstance(feature, dict):
        return ()
    if feature.get("_type") == "ClassLabel":
        return tuple(map(str, feature["names"]))
    return _declared_names(feature.get("feature"))


def _parse_json_line(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is not JSON: {error}") from None
