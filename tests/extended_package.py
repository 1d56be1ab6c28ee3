"""A copy of the package with the entries of `tests/extension`, in which commands and small programs run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXTENSION = Path(__file__).parent / "extension"


@dataclass(frozen=True)
class ExtendedPackage:
    """The folder that holds the copy."""

    folder: Path

    def run(self, *arguments: object, cwd: Path | None = None) -> str:
        """Run a command of autocompress, which must succeed; return what it printed."""
        return self._run(["-m", "autocompress", *map(str, arguments)], cwd)

    def json(self, *arguments: object, cwd: Path | None = None) -> Any:
        """Run a command with `--json`; return its document."""
        return json.loads(self.run(*arguments, "--json", cwd=cwd))

    def python(self, program: str, *arguments: object, cwd: Path | None = None) -> str:
        """Run a program that may also import `tests`; return what it printed."""
        return self._run(["-c", program, *map(str, arguments)], cwd)

    def _run(self, arguments: list[str], cwd: Path | None) -> str:
        environment = {**os.environ, "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=cwd or self.folder, env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


def extend_package(folder: Path) -> ExtendedPackage:
    """Copy the package and its search spaces to a folder, and add the entries; none may replace a file."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("autocompress", "search_spaces"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for path in sorted(EXTENSION.rglob("*.py")):
        target = folder / "autocompress" / path.relative_to(EXTENSION)
        if path.parent == EXTENSION:
            continue  # this folder's own docstring
        assert not target.exists(), f"{target} is a file of the package"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return ExtendedPackage(folder)
