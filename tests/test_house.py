"""The house: folders only, each on its floor, and imports go one way, from a floor to those above it in the list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "autocompress"

# A folder imports only from the folders above it. `core`'s registry alone loads entries of any folder, by name.
FLOORS = (
    "core",
    "config",
    "space",
    "selection",
    "storage",
    "data",
    "tasks",
    "metrics",
    "models",
    "formats",
    "techniques",
    "training",
    "runtimes",
    "deployment",
    "benchmarking",
    "study",
    "search",
    "actions",
    "interfaces",
)
FLOOR = {folder: number for number, folder in enumerate(FLOORS)}
BESIDE = ("__init__.py", "__main__.py")
FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_up_the_list(file: Path) -> None:
    folder = file.relative_to(PACKAGE).parts[0]
    if folder in BESIDE:  # the public Python API and the program may show any folder
        return
    for other in imported(file):
        if other in FLOOR and other != folder:
            assert FLOOR[other] < FLOOR[folder], f"{folder} must not import {other}"


def test_only_folders_with_a_floor_stand_in_the_package() -> None:
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert found == {*FLOORS, *BESIDE}
    assert len(FLOORS) <= 20


def imported(file: Path) -> Iterator[str]:
    """The folders that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "autocompress":
            names = [f"autocompress.{alias.name}" for alias in node.names if not alias.name.startswith("__")]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("autocompress."))
