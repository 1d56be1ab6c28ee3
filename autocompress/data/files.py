"""What stands in parquet, csv, json and jsonl files, folders, globs and data sets of the hub, as it is.

The file formats are read with pyarrow and json themselves: `datasets` would leave a converted copy of every file in the
user's home. Data sets of the hub, and folders written by `save_to_disk`, are read with `datasets`.
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
    """One file, as it is."""

    name: str
    columns: dict[str, list[Any]]  # the needed ones
    class_names: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class SourceReader:
    """Reads the needed columns of a source; `place` begins the message of an error."""

    place: str
    texts: tuple[str, ...]  # columns never to be taken for numbers
    needed: tuple[str, ...]

    def local(self, path: Path) -> Iterable[SourceFile]:
        """The files that a path stands for: itself, a folder's, a glob's, or a folder of `save_to_disk`."""
        if path.is_dir():
            if (path / "state.json").is_file():
                return [self._saved(path)]
            files = self._in_folder(path)
        else:
            matches = [path] if path.is_file() else map(Path, glob(str(path), recursive=True))
            files = sorted(file for file in matches if file.suffix.lower() in DATA_SUFFIXES)
            if not files:
                raise UsageError(f"{self.place}: there is no file {path} of a known kind ({', '.join(DATA_SUFFIXES)})")
        return (self._file(file) for file in files)

    def hub(self, source: HubData) -> Iterable[SourceFile]:
        """One split of a data set of the hub (or of a folder laid out like one, which leaves no cache behind)."""
        import datasets

        with TemporaryDirectory() as cache:
            local = Path(source.path).is_absolute()
            try:
                loaded = datasets.load_dataset(
                    source.path,
                    source.config,
                    revision=source.revision,
                    split=source.split,
                    cache_dir=cache if local else None,
                )
            except Exception as error:  # every library under the hub's client raises its own kinds
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UsageError(
                    f"{self.place}: the data set {source.path} (split {source.split}) cannot be loaded: "
                    f"{reason[:300]}; check path, config, split and the network, or name local files"
                ) from None
            return [self._dataset(loaded, f"{source.path}[{source.split}]")]

    def _in_folder(self, folder: Path) -> list[Path]:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in DATA_SUFFIXES and file.is_file())
        if (folder / "dataset_dict.json").is_file():
            inner = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir()))
            raise UsageError(f"{self.place}: {folder} holds several splits; name one of its folders: {inner}")
        if not files:
            raise UsageError(f"{self.place}: the folder {folder} holds no {', '.join(DATA_SUFFIXES)} file")
        splits = {SPLIT_WORDS.get(file.stem.replace("_", "-").split("-")[0].lower()) for file in files} - {None}
        if len(splits) > 1:
            names = ", ".join(file.name for file in files)
            raise UsageError(f"{self.place}: {folder} holds several splits ({names}); name one file, or a glob")
        return files

    def _file(self, path: Path) -> SourceFile:
        if path.stat().st_size == 0:
            raise UsageError(f"{self.place}: {path} is empty (0 bytes)")
        read = {".parquet": self._parquet, ".csv": self._csv}.get(path.suffix.lower(), self._json)
        try:
            return read(path)
        except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's errors are kinds of these
            reason = " ".join(str(error).split())
            raise UsageError(f"{self.place}: {path} cannot be read as {path.suffix[1:]}: {reason[:300]}") from None

    def _parquet(self, path: Path) -> SourceFile:
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            self._check_columns(file.schema_arrow.names, path.name)
            table = file.read(columns=list(self.needed))
        described = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
        features = described.get("info", {}).get("features", {})
        names = {
            column: tuple(feature["names"])
            for column, feature in features.items()
            if column in self.needed and isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
        return SourceFile(path.name, {column: table[column].to_pylist() for column in self.needed}, names)

    def _csv(self, path: Path) -> SourceFile:
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
        self._check_columns(table.column_names, path.name)
        return SourceFile(path.name, {column: table[column].to_pylist() for column in self.needed}, {})

    def _json(self, path: Path) -> SourceFile:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
            rows = [_json_line(number, line) for number, line in lines]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("every row must be an object, {column: value}")
        self._check_columns(list(dict.fromkeys(key for row in rows for key in row)), path.name)
        return SourceFile(path.name, {column: [row.get(column) for row in rows] for column in self.needed}, {})

    def _saved(self, folder: Path) -> SourceFile:
        import datasets

        try:
            loaded = datasets.load_from_disk(str(folder))
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.place}: {folder} cannot be read: {' '.join(str(error).split())}") from None
        return self._dataset(loaded, folder.name)

    def _dataset(self, loaded: Any, name: str) -> SourceFile:
        self._check_columns(loaded.column_names, name)
        loaded = loaded.select_columns(list(self.needed))
        names = {column: getattr(feature, "names", None) for column, feature in loaded.features.items()}
        return SourceFile(
            name,
            {column: list(loaded[column]) for column in self.needed},
            {column: tuple(values) for column, values in names.items() if values},
        )

    def _check_columns(self, there: Sequence[str], name: str) -> None:
        for column in self.needed:
            if column not in there:
                raise UsageError(f"{self.place}: {name} has no column {column!r}{available(column, there)}")


def column_names(path: Path) -> list[str]:
    """The columns of a data file. UsageError where it cannot be read."""
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
    except (OSError, ValueError, NotImplementedError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"DATA: {path} cannot be read as {path.suffix[1:]}: {reason[:300]}") from None


def _json_line(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is not JSON: {error}") from None
