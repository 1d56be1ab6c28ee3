"""The registry: each folder is a registry of one kind, and each file in it is an entry under the file's name.

`names`, `summary` and `literal` read files without importing them; `load` imports one entry, and its errors are not caught.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from autocompress.core.errors import unknown

PACKAGE = Path(__file__).parents[1]
FOLDERS = {  # kind -> its folder in the package; entries may lie in subfolders
    "techniques": "techniques",
    "attentions": "models/attentions",
    "tasks": "tasks",
    "runtimes": "runtimes",
    "families": "models/families",
    "metrics": "metrics",
}
KINDS = tuple(FOLDERS)


def names(kind: str) -> list[str]:
    """Return the names of the entries of one kind, sorted. `kind` is one of KINDS."""
    return sorted(_files(kind))


def load(kind: str, name: str, place: str = "") -> ModuleType:
    """Import and return the module of one entry; an unknown name is a UsageError, and `place` begins its message."""
    files = _files(kind)
    if name not in files:
        raise unknown(kind.removesuffix("s"), name, sorted(files), place)
    return import_module(".".join(("autocompress", *files[name].relative_to(PACKAGE).with_suffix("").parts)))


def summary(kind: str, name: str) -> str:
    """Return the first line of the entry's docstring, read without importing it."""
    tree = ast.parse(_files(kind)[name].read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def literal(kind: str, name: str, variable: str) -> Any:
    """Return a constant of an entry, read without importing it; AttributeError if no literal is assigned to it."""
    path = _files(kind)[name]
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == variable for target in node.targets
        ):
            return ast.literal_eval(node.value)
    raise AttributeError(f"{path.relative_to(PACKAGE.parent)} does not set {variable}")


def _files(kind: str) -> dict[str, Path]:
    """Return `{name: file}` of the entries of a kind."""
    if kind not in FOLDERS:
        raise unknown("registry", kind, KINDS)
    return {path.stem: path for path in (PACKAGE / FOLDERS[kind]).rglob("*.py") if not path.stem.startswith("_")}
