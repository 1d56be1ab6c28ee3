"""Run the quickstart as a new user: `python -m benchmarks.quickstart [--keep DIR] [--docs]`.

Clones this repository, runs `make quickstart`, every command that it prints, a report, and the code of the exported model's
card. Prints the time and the exported model; the exit code is 1 if anything fails. `--docs` writes the output to
docs/pages/quickstart.md, with pictures of dashboard and report. Needs the extra `benchmarks` and chromium.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.browsing import PLOTS, TRIAL_NOTE, open_browser

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "pages"
STUDY = "studies/quickstart.yaml"
ENDED = "the search ended"  # the result starts with this line


@dataclass
class Terminal:
    """Runs commands in a clone, and records their output."""

    clone: Path
    records: list[tuple[str, str]] = field(default_factory=list)  # command, output

    def run(self, *command: str, show: bool = False) -> str:
        """Run a command and return its output; exit if it fails."""
        print("$", *command, flush=True)
        process = subprocess.Popen(command, cwd=self.clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if show:
                print(line, end="", flush=True)
        if process.wait():
            sys.exit(f"{' '.join(command)} ended with {process.returncode}\n{''.join(lines)}")
        self.records.append((" ".join(command), "".join(lines)))
        return "".join(lines)

    @contextmanager
    def dashboard(self, *command: str) -> Iterator[str]:
        """Run the dashboard, and yield its address."""
        print("$", *command, flush=True)
        process = subprocess.Popen([*command, "--port", "0"], cwd=self.clone, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None, "the dashboard printed no address"
        yield address[0]
        process.terminate()
        process.wait()


def main(keep: Path | None, docs: bool) -> None:
    """Run the quickstart in a temporary clone, or in the folder `keep`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, open_browser() as open_page:
        pictures = PAGES / "screens" if docs else Path(folder)
        pictures.mkdir(exist_ok=True)
        clone = keep or Path(folder) / "autocompress"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        terminal = Terminal(clone)
        start = time.monotonic()
        output = terminal.run("make", "quickstart", show=True)
        minutes, seconds = divmod(round(time.monotonic() - start), 60)
        terminal.records = [("make quickstart", output[output.index(ENDED) :])]
        commands = [line.split() for line in output.partition("next:")[2].splitlines() if line.startswith("  ")]
        export = next(command for command in commands if "export" in command)
        trial = export[export.index("--trial") + 1]
        for command in commands:
            if "dashboard" not in command:
                terminal.run(*command)
                continue
            with terminal.dashboard(*command) as address:
                open_page(address, PLOTS, pictures / "dashboard.png")
                open_page(f"{address}/trials?numbers={trial}", TRIAL_NOTE, pictures / "trial.png")
        terminal.run(".venv/bin/autocompress", "report", STUDY)
        open_page((clone / "studies/quickstart/report.html").resolve().as_uri(), PLOTS, pictures / "report.png")
        exported = clone / export[export.index("--to") + 1]
        code, answer = run_card(exported, (clone / ".venv/bin/python").absolute())
        row = json.loads((exported / "measurement.json").read_text(encoding="utf-8"))["row"]
    summary = (
        f"`make quickstart` took {minutes} min {seconds} s, installation included. The exported model, trial {row['trial']}, "
        f"is {row['speedup']:.1f} times as fast and {row['compression']:.1f} times smaller than its teacher, and loses "
        f"{100 * row['test_drop']:.1f} points on test. The code of its model card prints {answer!r}."
    )
    print(summary)
    if docs:
        (PAGES / "quickstart.md").write_text(render_page(summary, terminal.records, code), encoding="utf-8")


def run_card(folder: Path, python: Path) -> tuple[str, str]:
    """Run the code of an exported model's card in its folder; return the code and its output."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None, "the model card contains no code"
    command = [str(python), "-c", code[1]]
    return code[1], subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def render_page(summary: str, records: list[tuple[str, str]], code: str) -> str:
    """Render all commands with their output as Markdown."""
    pictures_of = {
        "make": [
            "![The study in the dashboard](screens/dashboard.png)",
            "![A trial in the dashboard](screens/trial.png)",
        ],
        "report": ["![The report](screens/report.png)"],
    }
    parts = [
        "# The quickstart, a recorded run",
        f"Written by `python -m benchmarks.quickstart --docs` in a fresh clone. {summary}",
    ]
    for command, output in records:
        text = "\n".join(line.rstrip() for line in output.strip("\n").splitlines())
        parts.append(f"```text\n$ {command}\n{text}\n```")
        parts += next((pictures for word, pictures in pictures_of.items() if word in command.split()), [])
    parts.append(f"The code of the exported model's card, run in its folder:\n\n```text\n{code.strip()}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, default=None, help="keep the clone in this folder")
    parser.add_argument("--docs", action="store_true", help="write docs/pages/quickstart.md")
    arguments = parser.parse_args()
    main(arguments.keep, arguments.docs)
