"""README and docs: every block is run as it stands, every command, option and key is told, and the site builds."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from autocompress.config import read_plan
from autocompress.core import registry
from tests.conftest import ROOT
from tests.tiny import tiny_rows, write_rows

DOCS = ROOT / "docs"
TUTORIAL, README = DOCS / "pages" / "tutorial.md", ROOT / "README.md"
OTHERS = sorted({*(DOCS / "pages").rglob("*.md")} - {TUTORIAL})
PAGES = [TUTORIAL, *OTHERS, README]  # the tutorial makes what the others go on with
TOKEN = "a token for the documentation's agent"
ELSEWHERE = "<!-- run by "  # before a block that a benchmark runs
BACKGROUND = "<!-- in the background -->"  # before a block that serves until it is stopped
FASTER = "sed -i 's/learning_rate: 5.0e-5/learning_rate: 1.0e-3/' my_study.yaml; "  # what the tiny model needs
LONG, SHORT = "search my_study.yaml", " --time 20s"  # which would take half an hour; what is typed behind it


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    place: str  # page and line
    language: str
    text: str
    mark: str  # the comment before it


def blocks(page: Path) -> Iterator[Block]:
    """All of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"(<!--[^\n]*-->\n)?^```(\w*)[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        line = text[: found.start()].count("\n") + 1
        yield Block(f"{page.relative_to(ROOT)}:{line}", found[2], found[3], (found[1] or "").strip())


class Workspace:
    """Where a reader types: what the pages speak of is there, and what they serve is served."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 7311
        (folder / ".venv").symlink_to(sys.prefix)
        rows = [{"sentence": row["text"], "label": row["label"]} for row in tiny_rows(240)]
        for name in ("train", "dev", "test", "more_texts"):
            write_rows(folder / "data" / f"{name}.csv", rows)
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "AUTOCOMPRESS_TOKEN": TOKEN, "COLUMNS": "120"}
        self.served = ExitStack()

    def run(self, block: Block) -> None:
        """As a reader would; whatever fails says where it stands."""
        if block.mark.startswith(ELSEWHERE) or block.language == "text":
            return
        text = self.here(block.text)
        if block.language == "yaml":
            self._read(text, block.place)
        elif block.mark == BACKGROUND:
            self._serve(text.strip(), block.place)
        else:
            command = {"bash": ["bash", "-e", "-c", text], "python": [sys.executable, "-c", text]}[block.language]
            done = subprocess.run(
                command, check=False, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{block.place} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"

    def here(self, text: str) -> str:
        """What a page says of a machine called pi is about this one; a search of half an hour takes 20 s."""
        text = text.replace("https://pi:7311", f"https://localhost:{self.port}")
        text = text.replace("DNS:pi", "DNS:localhost,IP:127.0.0.1")
        return re.sub(rf"^.*{re.escape(LONG)}$", rf"{FASTER}\g<0>{SHORT}", text, flags=re.MULTILINE)

    def _read(self, text: str, place: str) -> None:
        """A study file, or a part of one, read as a search would read it."""
        values = yaml.safe_load(text)
        if "teacher" not in values:
            own = yaml.safe_load((self.folder / "my_study.yaml").read_text(encoding="utf-8"))
            values = {**{key: own[key] for key in own if key != "device" or "devices" not in values}, **values}
        file = self.folder / "a_block.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        assert read_plan(file).teacher.model, place

    def _serve(self, command: str, place: str) -> None:
        if " agent " in command:
            command += " --port 0 --folder agent"
        log = self.folder / "served.txt"
        process = self.served.enter_context(_started(command, self.folder, self.environment, log))
        deadline = time.monotonic() + 60
        while not (address := re.search(r"https?://[\w.]+:(\d+)", log.read_text(encoding="utf-8"))):
            assert process.poll() is None and time.monotonic() < deadline, f"{place}: {log.read_text(encoding='utf-8')}"
            time.sleep(0.1)
        if " agent " in command:
            self.port = int(address[1])


@contextmanager
def _started(command: str, cwd: Path, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=cwd, env=environment, stdout=out, stderr=out, text=True
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there to make a certificate")
def test_every_block_of_the_docs_does_what_it_says(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with workspace.served:
        for page in (TUTORIAL, *OTHERS):
            for block in blocks(page):
                workspace.run(block)


@pytest.mark.slow
def test_every_block_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.run(next(blocks(TUTORIAL)))  # its reader begins with a model and data of his own
    for block in blocks(README):
        workspace.run(block)


def test_what_is_not_run_says_why() -> None:
    found = [block for page in PAGES for block in blocks(page)]
    assert {block.language for block in found} <= {"bash", "python", "yaml", "text"}
    for block in found:
        if block.mark.startswith(ELSEWHERE):
            benchmark = block.mark.removeprefix(ELSEWHERE).removesuffix(" -->")
            assert (ROOT / benchmark).is_file(), f"{block.place}: {benchmark}"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_is_told(reference: ModuleType) -> None:
    page = reference.commands_page()
    for name, command in reference.commands().items():
        assert f"\n## {name}\n" in page and command.help
        for one in command.params:
            assert one.help, f"{name}: {one.name} says nothing of itself"
            assert all(f"`{option}" in page for option in one.opts if option.startswith("-"))


def test_every_key_is_told(reference: ModuleType) -> None:
    told = list(reference.keys())
    page = reference.study_file_page()
    assert {path.split(".")[0] for path, *_ in told} == set(reference.schema.StudyPlan.model_fields)
    for path, kind, _, meaning in told:
        assert meaning, f"{path} says nothing of itself"
        assert kind and f"| `{path}` |" in page


def test_every_decision_has_a_page_in_the_site() -> None:
    nav = (DOCS / "mkdocs.yml").read_text(encoding="utf-8")
    for decision in registry.names("techniques"):
        page = (DOCS / "pages" / "decisions" / f"{decision}.md").read_text(encoding="utf-8")
        assert f"decisions/{decision}.md" in nav
        assert "**How.**" in page and "**What it gives.**" in page and "**What it costs.**" in page
        assert re.search(r"(19|20)\d\d", page), "its paper has a year"


def test_every_result_is_told(reference: ModuleType) -> None:
    page = reference.results_page()
    for name in reference.TrialRow.__dataclass_fields__:
        assert re.search(rf"\| `{name}` \| \S", page), f"{name} says nothing of itself"


def test_the_site_builds_and_every_link_in_it_leads_somewhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-f",
        str(DOCS / "mkdocs.yml"),
        "-d",
        str(tmp_path),
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("index", "tutorial", "reference/commands", "reference/study-file", "decisions/depth"):
        assert (tmp_path / f"{page}.html").is_file()
    loaded = re.findall(
        r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', (tmp_path / "index.html").read_text(encoding="utf-8")
    )
    assert not loaded  # it needs no network
