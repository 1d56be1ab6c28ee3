"""The folder is the registry: one file, one entry, and the file's name is its name everywhere.

`names` and `summary` read file names and docstrings only, so that listing imports nothing; `load` imports one entry, and
a broken file stops the program there and then.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from autocompress.errors import unknown

KINDS = ("techniques", "attentions", "tasks", "runtimes", "families", "metrics")


def names(kind: str) -> list[str]:
    """Names of the entries of one kind, sorted. `kind` is one of KINDS."""
    if kind not in KINDS:
        raise unknown("registry", kind, KINDS)
    return sorted(path.stem for path in _folder(kind).glob("*.py") if not path.stem.startswith("_"))


def load(kind: str, name: str, place: str = "") -> ModuleType:
    """The module of one entry; an unknown name is an error that lists what there is."""
    if name not in names(kind):
        raise unknown(kind.removesuffix("s"), name, names(kind), place)
    return import_module(f"autocompress.{kind}.{name}")


def summary(kind: str, name: str) -> str:
    """First line of the entry's docstring, read without importing it."""
    tree = ast.parse((_folder(kind) / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def literal(kind: str, name: str, variable: str) -> Any:
    """A constant of an entry, read without importing it; it must be written as a literal."""
    for node in ast.parse((_folder(kind) / f"{name}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == variable for t in node.targets):
            return ast.literal_eval(node.value)
    raise AttributeError(f"autocompress/{kind}/{name}.py does not set {variable}")


def _folder(kind: str) -> Path:
    return Path(__file__).parent / kind
