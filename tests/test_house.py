"""The house: folders only, each on its floor; imports go one way; files and functions are short; names are standard terms."""

from __future__ import annotations

import ast
import re
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
BESIDE = ("__init__.py", "__main__.py")
FLOOR = {folder: number for number, folder in enumerate(FLOORS)}
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES, MOST_FUNCTION_LINES = 300, 50
# Escapes from the type checker: how often each word may stand in the package. Lower a number when you can; never raise it.
ESCAPES = {"Any": 146, "type: ignore": 10, "cast": 8}
PRIVATE_WORDS = {
    "crew",
    "hired",
    "groundwork",
    "finals",
    "materials",
    "lesson",
    "lessons",
    "shelf",
    "line",
    "wire",
    "guard",
    "lifeline",
    "twin",
    "twins",
    "starters",
    "elsewhere",
    "said",
    "settled",
    "bar",
    "contest",
    "returns",
    "effort",
    "draft",
    "card",
    "dialect",
    "unsayable",
    "crowded",
    "gone",
    "say",
    "there_is",
    "in_words",
}


def name_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_go_up_the_list(file: Path) -> None:
    folder = file.relative_to(PACKAGE).parts[0]
    if folder in BESIDE:  # the public Python API and the program may show any folder
        return
    for other in imported_folders(file):
        if other in FLOOR and other != folder:
            assert FLOOR[other] < FLOOR[folder], f"{folder} must not import {other}"


def test_only_folders_with_a_floor_stand_in_the_package() -> None:
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert found == {*FLOORS, *BESIDE}
    assert len(FLOORS) <= 20


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    for function in functions(ast.parse(text)):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        assert lines <= MOST_FUNCTION_LINES, f"{function.name} has {lines} lines"


def test_modules_classes_and_functions_have_no_private_names() -> None:
    for file in FILES:
        assert file.stem.strip("_") not in PRIVATE_WORDS, file
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.name.strip("_").lower() not in PRIVATE_WORDS, f"{name_of(file)}: {node.name}"


def test_escapes_from_the_type_checker_do_not_grow() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    for word, most in ESCAPES.items():
        assert len(re.findall(rf"\b{word}\b", text)) <= most, word


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a module, methods and inner ones included."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def imported_folders(file: Path) -> Iterator[str]:
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
