"""Imports go one way: from a floor of the house to those below it, and within a floor only as named here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "autocompress"

# Lowest first. A room (a module or a package) may import rooms of the floors below its own, and nothing beside or above.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "lifeline", "numbers", "compressed", "stage"),
    ("registry", "recipe"),
    ("measurement", "program"),
    ("model_config", "attentions", "plan", "runtimes", "metrics", "augment", "graph"),
    ("families", "data", "space", "front", "effort", "latency_table", "store", "lease", "inventory"),
    ("tasks", "forward", "training", "jobs", "display", "figures"),
    ("surgery", "teacher", "measure", "scoring"),  # the stages do not know each other …
    ("techniques", "importance", "recovery", "deploy", "verify", "agent"),  # … but all speak of a surgery's Candidate
    ("stages",),
    ("adoption",),
    ("study", "materials", "loading", "target"),
    ("devices",),
    ("pipeline", "budget", "locating", "card", "returns", "bench", "doctor"),
    ("workers", "cleaning", "folder", "schedule"),
    ("crew", "show", "options"),
    ("groundwork", "finals"),
    ("search",),
    ("terminal", "export", "dashboard", "draft"),
    ("comparing", "reproducing", "report", "upgrading"),
    ("results",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_down(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return  # the package's own face may show any room
    for other in imported(file):
        if other != room:
            assert FLOOR[other] < FLOOR[room], f"{room} must not import {other}"


def test_every_room_has_its_floor() -> None:
    rooms = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in FILES} - {"__init__"}
    assert rooms == set(FLOOR)


def imported(file: Path) -> Iterator[str]:
    """The rooms that a file imports, wherever in it."""
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
