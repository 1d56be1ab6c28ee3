"""The registry: each folder holds the entries of one kind, one file each; an entry's name is the name of its file.

A file exports one object under the name of its kind in capitals: a technique's file defines `TECHNIQUE`, an instance of
`Technique`. `names` and `summary` read files without importing them; `load` imports one file, and its errors are not caught.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from autocompress.core.errors import unknown

PACKAGE = Path(__file__).parents[1]
FOLDERS = {  # kind -> the folders in the package whose files are its entries; files that begin with _ are none
    "techniques": "techniques/*",
    "attentions": "models/attentions",
    "tasks": "tasks",
    "runtimes": "runtimes",
    "families": "models/families",
    "blocks": "models/blocks",
    "metrics": "metrics",
}
KINDS = tuple(FOLDERS)
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Registry(Generic[Entry]):
    """The entries of one kind."""

    kind: str  # plural, a key of FOLDERS
    variable: str  # the name under which each file exports its object
    entry_type: type[Entry]

    def names(self) -> list[str]:
        """Return the names of the entries, sorted."""
        return names(self.kind)

    def load(self, name: str, place: str = "") -> Entry:
        """Import one entry and return its object.

        An unknown name is a UsageError, and `place` begins its message. TypeError where the file exports no object of the
        kind.
        """
        module = load(self.kind, name, place)
        entry = getattr(module, self.variable, None)
        if not isinstance(entry, self.entry_type):
            raise TypeError(
                f"{module.__name__}: `{self.variable}` must be an instance of {self.entry_type.__name__}, but is {entry!r}"
            )
        return entry

    def entries(self) -> dict[str, Entry]:
        """Return all entries by name."""
        return {name: self.load(name) for name in self.names()}

    def summary(self, name: str) -> str:
        """Return the first line of the file's docstring, read without importing it."""
        return summary(self.kind, name)


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
    return {path.stem: path for path in PACKAGE.glob(f"{FOLDERS[kind]}/*.py") if not path.stem.startswith("_")}
