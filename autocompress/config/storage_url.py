"""The database of a study: its URL, the lookup by name, and checks that it can be written."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from autocompress.config.messages import available
from autocompress.config.paths import expand_variables
from autocompress.config.yaml_documents import read_mapping
from autocompress.core.errors import UsageError


class StoredStudy(NamedTuple):
    """The database and the name of a study."""

    url: str
    study: str


def storage_of(name_or_path: str | Path, storage: str | None = None) -> StoredStudy:
    """Return the database and the name of a STUDY argument: a study file, studies/NAME.yaml, or a name in `--storage`.

    Only `study` and `storage` of a study file are read, so that results stay readable where the data is missing.
    `storage` (of `--storage`) replaces the file's, and is relative to the working folder.
    """
    file = study_file(name_or_path)
    url = storage_url(storage, Path.cwd(), "--storage") if storage else None
    if file.is_file() or _is_path(str(name_or_path)):
        return _read_storage(file, url)
    if url is None:
        names = sorted(path.stem for path in file.parent.glob("*.yaml"))
        raise UsageError(
            f"{name_or_path}: there is no {file}, and no --storage to look in{available(name_or_path, names)}"
        )
    return StoredStudy(url, str(name_or_path))


def study_file(name_or_path: str | Path) -> Path:
    """Return the study file of a STUDY argument: the path itself, or `studies/NAME.yaml`. It may not exist."""
    text = str(name_or_path)
    return Path(text) if _is_path(text) else Path("studies") / f"{text}.yaml"


def default_storage(folder: Path, study: str) -> str:
    """Return the URL of `STUDY/study.db` in the folder of the study file."""
    return f"sqlite:///{folder / study / 'study.db'}"


def storage_url(text: str, folder: Path, place: str) -> str:
    """Return an SQLAlchemy URL; a relative path in an SQLite URL is made absolute, from `folder`."""
    scheme, sign, rest = text.partition("://")
    if not sign or not re.fullmatch(r"[a-z]\w*(\+\w+)?", scheme):
        raise UsageError(
            f"{place}: an SQLAlchemy URL is needed; for a file write sqlite:///{text.lstrip(':/') or 'study.db'}"
        )
    if scheme.partition("+")[0] != "sqlite" or rest.startswith("/file:"):
        return text
    database, question, query = rest.removeprefix("/").partition("?")
    if database in ("", ":memory:"):
        raise UsageError(f"{place}: a database in memory would be lost; name a file, e.g. sqlite:///study.db")
    if not rest.startswith("/"):
        raise UsageError(f"{place}: three slashes are needed before a relative path: sqlite:///{database}")
    path = os.path.normpath(folder / Path(database).expanduser())
    return f"{scheme}:///{path}{question}{query}"


def check_storage(url: str, place: str = "storage") -> None:
    """Create the folder of an SQLite database, and check that both can be written; other URLs are not checked."""
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] != "sqlite" or rest.startswith("/file:"):
        return
    path = Path(rest.removeprefix("/").partition("?")[0])
    if path.is_dir():
        raise UsageError(f"{place}: {path} is a folder; name a file in it, e.g. {path / 'study.db'}")
    check_folder(path.parent, place)
    if not path.exists():
        return
    try:
        with path.open("r+b") as file:
            start = file.read(16)
    except OSError as error:
        raise UsageError(f"{place}: {path} cannot be written: {error.strerror}") from None
    if start not in (b"", b"SQLite format 3\0"):
        raise UsageError(f"{place}: {path} exists and is not an SQLite database; name another file")


def check_folder(folder: Path, place: str) -> None:
    """Create a folder, and check that files can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"{place}: the folder {folder} cannot be written: {error.strerror}; name another one"
        ) from None


def _read_storage(file: Path, url: str | None) -> StoredStudy:
    """Return database and name from a study file; `url` replaces the file's."""

    def place(key_path: str) -> str:
        return f"{file.name}: {key_path}"

    values = read_mapping(file, "study file")
    keys = ("study",) if url is not None else ("study", "storage")
    texts = expand_variables({key: values[key] for key in keys if values.get(key) is not None}, place)
    for key, text in texts.items():
        if not isinstance(text, str):
            raise UsageError(f"{place(key)}: text is needed (put quotes around a number), but got {text!r}")
    study = texts.get("study", file.stem)
    folder = file.absolute().parent
    storage = texts.get("storage")
    file_url = storage_url(storage, folder, place("storage")) if storage else default_storage(folder, study)
    return StoredStudy(url or file_url, study)


def _is_path(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or os.sep in text
