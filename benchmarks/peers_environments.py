"""The environments of the peers: the project's own, or one that adds a section of requirements.txt to it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

FOLDER = Path(__file__).with_name(".environments")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PROJECT = "project"  # the environment that runs the benchmark
OWN_VERSIONS = ("model2vec",)  # sections whose versions differ from the project's constraints


def python_of(environment: str) -> Path:
    """Return the Python of an environment, which is installed first where it is missing or its section has changed."""
    if environment == PROJECT:
        return Path(sys.executable)
    folder = FOLDER / environment
    wanted, installed = "\n".join(read_section(environment)), folder / "installed.txt"
    if not (installed.is_file() and installed.read_text(encoding="utf-8") == wanted):
        _install(environment, folder)
        installed.write_text(wanted, encoding="utf-8")
    return _python_in(folder)


def read_section(environment: str, path: Path = REQUIREMENTS) -> list[str]:
    """Return the requirements of a section; ValueError, with the available names, for an unknown one."""
    sections: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ["):
            lines = sections.setdefault(line[3:].partition("]")[0], [])
        elif line and not line.startswith("#"):
            lines.append(line)
    if environment not in sections:
        raise ValueError(f"{path.name}: no section {environment!r}; available: {', '.join(sections)}")
    return sections[environment]


def _install(environment: str, folder: Path) -> None:
    """Create an environment that sees the packages of the running one, and install its section in front of them."""
    print(f"installing the environment {environment} …", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    python = _python_in(folder)
    found = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True,
                           capture_output=True, text=True)  # fmt: skip
    (Path(found.stdout.strip()) / "project.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    constraints = REQUIREMENTS.parent.parent / "constraints.txt"
    options = [] if environment in OWN_VERSIONS else ["-c", str(constraints)]
    torch = next(line for line in constraints.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options, torch]
    subprocess.run([*command, *read_section(environment)], check=True)


def _python_in(folder: Path) -> Path:
    return folder / "bin" / "python"
