"""The registry: each folder holds the entries of one kind, one file each; an entry's name is the name of its file.

A file exports one object under the name of its kind in capitals: a technique's file defines `TECHNIQUE`, an instance of
`Technique`. `names` and `summary` read files without importing them; `load` imports one file, and its errors are not caught.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Generic, TypeVar

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
        files = _files(self.kind)
        if name not in files:
            raise unknown(self.kind.removesuffix("s"), name, sorted(files), place)
        module = ".".join(("autocompress", *files[name].relative_to(PACKAGE).with_suffix("").parts))
        entry: object = getattr(import_module(module), self.variable, None)
        if not isinstance(entry, self.entry_type):
            raise TypeError(
                f"{module}: `{self.variable}` must be an instance of {self.entry_type.__name__}, but is {entry!r}"
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


def summary(kind: str, name: str) -> str:
    """Return the first line of the entry's docstring, read without importing it."""
    tree = ast.parse(_files(kind)[name].read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _files(kind: str) -> dict[str, Path]:
    """Return `{name: file}` of the entries of a kind."""
    if kind not in FOLDERS:
        raise unknown("registry", kind, KINDS)
    return {path.stem: path for path in PACKAGE.glob(f"{FOLDERS[kind]}/*.py") if not path.stem.startswith("_")}
