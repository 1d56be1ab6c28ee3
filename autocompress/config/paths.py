"""Paths in a study file: variables, paths relative to the file, and folders in installed packages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from glob import glob, has_magic
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autocompress.config.messages import Place
from autocompress.core.errors import UsageError

HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
DATA_SUFFIXES = (".parquet", ".csv", ".json", ".jsonl")


def expand_variables(value: Any, place: Place, key_path: str = "") -> Any:
    """Return the value with `${VAR}` replaced in all texts; UsageError if a variable is not set.

    `place` turns the key path of a text into the beginning of a message.
    """
    if isinstance(value, Mapping):
        prefix = f"{key_path}." if key_path else ""
        return {key: expand_variables(item, place, f"{prefix}{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [expand_variables(item, place, key_path) for item in value]
    return _expand_text(value, place(key_path)) if isinstance(value, str) else value


def model_path(text: str, folder: Path, place: str) -> str:
    """Return the absolute folder of a model, or its hub name unchanged. An existing folder takes precedence."""
    path = local_path(text, folder, place)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"{place}: {path} is no transformers model: it has no config.json{_list_folder(path)}")
        return str(path)
    if path.exists():
        raise UsageError(f"{place}: {path} is a file; a folder with config.json, weights and tokenizer is needed")
    if looks_local(text) or not HUB_NAME.fullmatch(text):
        raise UsageError(f"{place}: there is no folder {path}{_list_folder(path.parent)}")
    return text


def data_path(text: str, folder: Path, place: str) -> str:
    """Return a data file, folder or glob as an absolute path; UsageError if nothing matches it."""
    path = local_path(text, folder, place)
    if has_magic(str(path)) and not path.exists():
        if not glob(str(path), recursive=True):
            raise UsageError(f"{place}: no file matches {path}{_list_folder(path.parent)}")
    elif not path.exists():
        hub = f" (for a data set of the hub write {{path: {text}, split: …}})" if not path.suffix else ""
        raise UsageError(f"{place}: there is no file {path}{_list_folder(path.parent)}{hub}")
    elif path.is_file() and path.suffix.lower() not in DATA_SUFFIXES:
        raise UsageError(
            f"{place}: {path.name} has no known suffix; available: {', '.join(DATA_SUFFIXES)}, or a folder"
        )
    return str(path)


def hub_data_path(text: str, folder: Path, place: str) -> str:
    """Return the name of a data set on the hub, or the absolute path of a folder. An existing folder takes precedence."""
    path = local_path(text, folder, place)
    if path.is_dir():
        return str(path)
    if looks_local(text) or not HUB_NAME.fullmatch(text):
        raise UsageError(f"{place}: there is no folder {path}{_list_folder(path.parent)}")
    return text


def looks_local(text: str) -> bool:
    """Return whether a text can only be a path, never a hub name."""
    return text.startswith((".", "/", "~", "package:")) or text.count("/") > 1


def local_path(text: str, folder: Path, place: str) -> Path:
    """Return a path of the study file as absolute: `package:IMPORT_NAME/SUB/PATH`, or relative to `folder`, the study's."""
    if text.startswith("package:"):
        return _package_path(text, place)
    try:
        return Path(os.path.normpath(folder / Path(text).expanduser()))
    except RuntimeError as error:  # ~NAME of an unknown user
        raise UsageError(f"{place}: {error}") from None


def _expand_text(text: str, place: str) -> str:
    def read_variable(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise UsageError(f"{place}: ${{{name}}} is not set; set it (export {name}=…) or write the value itself")
        return os.environ[name]

    return re.sub(r"\$\{([^}]*)\}", read_variable, text)


def _package_path(text: str, place: str) -> Path:
    name, _, subpath = text.removeprefix("package:").partition("/")
    if not name.isidentifier():
        raise UsageError(f"{place}: the form is package:IMPORT_NAME/SUB/PATH, but got {text!r}")
    try:
        spec = find_spec(name)  # a top-level name is found without an import
    except ValueError:
        spec = None
    roots = list(spec.submodule_search_locations or ()) if spec else []
    if not roots:
        raise UsageError(f"{place}: no installed package has the import name {name}; install it first ({text})")
    return Path(os.path.normpath(Path(roots[0]) / subpath))


def _list_folder(folder: Path) -> str:
    """Return `; in FOLDER available: …`, so that a misspelt name is easy to see."""
    if not folder.is_dir():
        return f"; the folder {folder} does not exist either"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"; in {folder} available: {shown or 'nothing'}"
