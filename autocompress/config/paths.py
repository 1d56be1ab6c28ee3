"""What a name in a study file stands for: a variable, a file beside it, a folder in an installed package, a space."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from glob import glob, has_magic
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autocompress.config.messages import available
from autocompress.config.yaml_documents import read_mapping
from autocompress.core.errors import UsageError

HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
DATA_SUFFIXES = (".parquet", ".csv", ".json", ".jsonl")


def expand(value: Any, place: Callable[[str], str], key_path: str = "") -> Any:
    """The value with `${VAR}` replaced in every text inside; a variable that is not set is an error.

    `place` turns the key path of a text into what the message of an error begins with.
    """
    if isinstance(value, Mapping):
        inside = f"{key_path}." if key_path else ""
        return {key: expand(inner, place, f"{inside}{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner, place, key_path) for inner in value]
    return _expand_text(value, place(key_path)) if isinstance(value, str) else value


def model_path(text: str, folder: Path, place: str) -> str:
    """The folder of a model, absolute; or its hub name, which is left alone. An existing folder wins."""
    path = local_path(text, folder, place)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"{place}: {path} holds no config.json, so it is no transformers model{_content(path)}")
        return str(path)
    if path.exists():
        raise UsageError(f"{place}: {path} is a file; a model is a folder with config.json, weights and tokenizer")
    if looks_local(text) or not HUB_NAME.fullmatch(text):
        raise UsageError(f"{place}: there is no folder {path}{_content(path.parent)}")
    return text


def data_path(text: str, folder: Path, place: str) -> str:
    """A data file, folder or glob, absolute and known to exist."""
    path = local_path(text, folder, place)
    if has_magic(str(path)) and not path.exists():
        if not glob(str(path), recursive=True):
            raise UsageError(f"{place}: no file matches {path}{_content(path.parent)}")
    elif not path.exists():
        hub = f" (for a data set of the hub write {{path: {text}, split: …}})" if not path.suffix else ""
        raise UsageError(f"{place}: there is no file {path}{_content(path.parent)}{hub}")
    elif path.is_file() and path.suffix.lower() not in DATA_SUFFIXES:
        raise UsageError(
            f"{place}: {path.name} is of no known kind; available: {', '.join(DATA_SUFFIXES)}, or a folder"
        )
    return str(path)


def hub_data_path(text: str, folder: Path, place: str) -> str:
    """The name of a data set of the hub; an existing folder wins and comes out absolute."""
    path = local_path(text, folder, place)
    if path.is_dir():
        return str(path)
    if looks_local(text) or not HUB_NAME.fullmatch(text):
        raise UsageError(f"{place}: there is no folder {path}{_content(path.parent)}")
    return text


def looks_local(text: str) -> bool:
    """Whether a text can only be meant as a path: never taken for a hub name."""
    return text.startswith((".", "/", "~", "package:")) or text.count("/") > 1


def local_path(text: str, folder: Path, place: str) -> Path:
    """A path of the study file, absolute: `package:IMPORT_NAME/SUB/PATH`, or relative to the study's folder."""
    if text.startswith("package:"):
        return _package_path(text, place)
    try:
        return Path(os.path.normpath(folder / Path(text).expanduser()))
    except RuntimeError as error:  # ~somebody who does not exist
        raise UsageError(f"{place}: {error}") from None


def spaces() -> dict[str, Path]:
    """The packaged search spaces, `{name: file}`: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).parents[1]
    folders = (package / "search_spaces", package.parent / "search_spaces")
    found = next((folder for folder in folders if folder.is_dir()), None)
    return {path.stem: path for path in sorted(found.glob("*.yaml"))} if found else {}


def read_space(name: str, folder: Path, place: str) -> dict[str, Any]:
    """The mapping of a space: a file in `folder` (the study's), else in ./search_spaces, else packaged; or a path.

    A study of that name in the same folder is no space and is passed over.
    """
    if name.startswith("package:") or "/" in name or name.endswith((".yaml", ".yml")):
        candidates: list[Path | None] = [local_path(name, folder, place)]
    else:
        candidates = [folder / f"{name}.yaml", Path("search_spaces") / f"{name}.yaml", spaces().get(name)]
        candidates = [path for path in candidates if path is not None and path.is_file()]
    for path in filter(None, candidates):
        values = read_mapping(path, "search space")
        if "teacher" not in values:
            expanded: dict[str, Any] = expand(values, f"{path.name}: {{}}".format)
            return expanded
    raise UsageError(f"{place}: unknown space {name!r}{available(name, _space_names())}")


def is_packaged(name: str, folder: Path) -> bool:
    """Whether the name of a space stands for a packaged one, and for no file of the user's."""
    own = (folder / f"{name}.yaml", Path("search_spaces") / f"{name}.yaml")
    packaged = spaces().get(name)
    return packaged is not None and not any(path.is_file() and not path.samefile(packaged) for path in own)


def _space_names() -> list[str]:
    return sorted({*spaces(), *(path.stem for path in Path("search_spaces").glob("*.yaml"))})


def _expand_text(text: str, place: str) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise UsageError(f"{place}: ${{{name}}} is not set; set it (export {name}=…) or write the value itself")
        return os.environ[name]

    return re.sub(r"\$\{([^}]*)\}", value_of, text)


def _package_path(text: str, place: str) -> Path:
    name, _, inner = text.removeprefix("package:").partition("/")
    if not name.isidentifier():
        raise UsageError(f"{place}: package:IMPORT_NAME/SUB/PATH is the form, but got {text!r}")
    try:
        spec = find_spec(name)  # a top-level name: found without importing anything
    except ValueError:
        spec = None
    roots = list(spec.submodule_search_locations or ()) if spec else []
    if not roots:
        raise UsageError(
            f"{place}: there is no installed package with the import name {name}; install it first ({text})"
        )
    return Path(os.path.normpath(Path(roots[0]) / inner))


def _content(folder: Path) -> str:
    """`; in FOLDER available: …`, so that a slip of the pen shows."""
    if not folder.is_dir():
        return f"; the folder {folder} does not exist either"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"; in {folder} available: {shown or 'nothing'}"
