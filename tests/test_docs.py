"""README and docs: every block runs as written, every command, option and key is documented, and the site builds."""

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
from autocompress.core.technique import ordered_techniques
from tests.conftest import ROOT
from tests.tiny import tiny_rows, tiny_tagged_rows, tiny_teacher, write_rows

DOCS = ROOT / "docs"
TUTORIAL, README = DOCS / "pages" / "tutorial.md", ROOT / "README.md"
OTHER_PAGES = sorted({*(DOCS / "pages").rglob("*.md")} - {TUTORIAL})
PAGES = [TUTORIAL, *OTHER_PAGES, README]  # the tutorial creates the files that the other pages use
TOKEN = "a token for the agent of the docs"
RUN_BY = "<!-- run by "  # marks a block that a benchmark runs
BACKGROUND = "<!-- in the background -->"  # marks a block that serves until it is stopped
RAISE_LEARNING_RATE = (
    "sed -Ei 's/learning_rate: [0-9.e-]+/learning_rate: 1.0e-3/' my_study.yaml; "  # for the tiny model
)
SEARCH, SHORT_BUDGET = "search my_study.yaml", " --time 20s"  # as written, the search would take half an hour
PYTHON_SEARCH = 'autocompress.search("my_study.yaml"'
SHORT_PYTHON_SEARCH = 'autocompress.search(autocompress.read_plan("my_study.yaml", ["budget.time=20s"])'


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    location: str  # page and line
    language: str
    text: str
    marker: str  # the comment before it


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield all blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"(<!--[^\n]*-->\n)?^```(\w*)[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        line = text[: match.start()].count("\n") + 1
        yield Block(f"{page.relative_to(ROOT)}:{line}", match[2], match[3], (match[1] or "").strip())


class Workspace:
    """A folder with the files that the pages name; servers that a page starts run until the end of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 7311
        (folder / ".venv").symlink_to(sys.prefix)
        rows = [{"sentence": row["text"], "label": row["label"]} for row in tiny_rows(240)]
        for name in ("train", "dev", "test", "more_texts"):
            write_rows(folder / "data" / f"{name}.csv", rows)
        for name in ("train", "validation", "test"):
            write_rows(folder / "my-words" / f"{name}.parquet", tiny_tagged_rows(20))
            write_rows(folder / "my-texts" / f"{name}.csv", tiny_rows(20))
        write_rows(folder / "my-newer-data" / "train.csv", tiny_rows(240))
        tiny_teacher(folder / "my-encoder")
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "AUTOCOMPRESS_TOKEN": TOKEN, "COLUMNS": "120"}
        self.servers = ExitStack()

    def run(self, block: Block) -> None:
        """Run a block as a reader would; a failure names its page and line."""
        if block.marker.startswith(RUN_BY) or block.language == "text":
            return
        text = self.adapt(block.text)
        if block.language == "yaml":
            self._read_study(text, block.location)
        elif block.marker == BACKGROUND:
            self._serve(text.strip(), block.location)
        else:
            command = {"bash": ["bash", "-e", "-c", text], "python": [sys.executable, "-c", text]}[block.language]
            done = subprocess.run(
                command, check=False, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{block.location} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"

    def adapt(self, text: str) -> str:
        """Replace the machine `pi` by this one, give a search of half an hour 20 s, and a refresh of a minute 10 s."""
        text = text.replace("https://pi:7311", f"https://localhost:{self.port}")
        text = text.replace("DNS:pi", "DNS:localhost,IP:127.0.0.1").replace(PYTHON_SEARCH, SHORT_PYTHON_SEARCH)
        text = re.sub(r"^.* refresh .*$", r"\g<0> --time 10s", text, flags=re.MULTILINE)
        return re.sub(
            rf"^.*{re.escape(SEARCH)}$", rf"{RAISE_LEARNING_RATE}\g<0>{SHORT_BUDGET}", text, flags=re.MULTILINE
        )

    def _read_study(self, text: str, location: str) -> None:
        """Read a study file, or a part of one, as a search would."""
        values = yaml.safe_load(text)
        if "teacher" not in values:
            base = yaml.safe_load((self.folder / "my_study.yaml").read_text(encoding="utf-8"))
            values = {**{key: base[key] for key in base if key != "device" or "devices" not in values}, **values}
        file = self.folder / "a_block.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        assert read_plan(file).teacher.model, location

    def _serve(self, command: str, location: str) -> None:
        if " agent " in command:
            command += " --port 0 --folder agent"
        log = self.folder / "server.txt"
        process = self.servers.enter_context(_run_in_background(command, self.folder, self.environment, log))
        deadline = time.monotonic() + 60
        while not (address := re.search(r"https?://[\w.]+:(\d+)", log.read_text(encoding="utf-8"))):
            assert process.poll() is None and time.monotonic() < deadline, (
                f"{location}: {log.read_text(encoding='utf-8')}"
            )
            time.sleep(0.1)
        if " agent " in command:
            self.port = int(address[1])


@contextmanager
def _run_in_background(
    command: str, cwd: Path, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
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
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificate, is not installed")
def test_docs_blocks_run(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with workspace.servers:
        for page in (TUTORIAL, *OTHER_PAGES):
            for block in read_blocks(page):
                workspace.run(block)


@pytest.mark.slow
def test_readme_blocks_run(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.run(next(read_blocks(TUTORIAL)))  # the README expects a model and data
    for block in read_blocks(README):
        workspace.run(block)


def test_page_on_adding_a_family_runs() -> None:
    """Run the page in one process: each block imports what it needs, but torch only once."""
    blocks = list(read_blocks(DOCS / "pages" / "how-to" / "add-a-family.md"))
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block.text, block.location, "exec"), {})


def test_skipped_blocks_name_an_existing_benchmark() -> None:
    blocks = [block for page in PAGES for block in read_blocks(page)]
    assert {block.language for block in blocks} <= {"bash", "python", "yaml", "text"}
    for block in blocks:
        if block.marker.startswith(RUN_BY):
            benchmark = block.marker.removeprefix(RUN_BY).removesuffix(" -->")
            assert (ROOT / benchmark).is_file(), f"{block.location}: {benchmark}"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_commands_page_lists_every_command_and_option(reference: ModuleType) -> None:
    page = reference.render_commands()
    for name, command in reference.list_commands().items():
        assert f"\n## {name}\n" in page and command.help
        for parameter in command.params:
            assert parameter.help, f"{name}: {parameter.name} has no help text"
            assert all(f"`{option}" in page for option in parameter.opts if option.startswith("-"))


def test_study_file_page_lists_every_key(reference: ModuleType) -> None:
    keys = list(reference.list_keys())
    page = reference.render_study_file()
    assert {path.split(".")[0] for path, *_ in keys} == set(reference.StudyFile.model_fields)
    for path, kind, _, meaning in keys:
        assert meaning, f"{path} has no description"
        assert kind and f"| `{path}` |" in page


def test_every_decision_has_a_page(reference: ModuleType) -> None:
    nav, generated = (DOCS / "mkdocs.yml").read_text(encoding="utf-8"), reference.build_pages()
    written = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "pages" / "decisions").glob("*.md")}
    for decision in ordered_techniques():
        page = written.get(decision) or generated[f"decisions/{decision}.md"]
        assert re.search(r"(19|20)\d\d", page), f"{decision}: the page cites no paper with its year"
        assert f"| `{decision}` |" in generated["reference/decisions.md"]
    for decision in set(written) - {"index"}:
        assert decision in ordered_techniques() and f"decisions/{decision}.md" in nav
        page = written[decision]
        assert "**How.**" in page and "**What it gives.**" in page and "**What it costs.**" in page


def test_results_page_lists_every_field(reference: ModuleType) -> None:
    page = reference.render_results()
    for name in reference.TrialRow.__dataclass_fields__:
        assert re.search(rf"\| `{name}` \| \S", page), f"{name} has no description"


def test_site_builds_without_broken_links(tmp_path: Path) -> None:
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
    for page in (
        "index",
        "tutorial",
        "reference/commands",
        "reference/study-file",
        "decisions/depth",
        "how-it-works/house",
    ):
        assert (tmp_path / f"{page}.html").is_file()
    loaded = re.findall(
        r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', (tmp_path / "index.html").read_text(encoding="utf-8")
    )
    assert not loaded, "the page loads files from the network"
