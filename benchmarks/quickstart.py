"""What a newcomer gets: `python -m benchmarks.quickstart [--keep DIR] [--docs]`.

Clones this repository anew, types `make quickstart`, then every command that it prints, a report, and the code of the exported
model's card. Prints how long it took and what the exported model is; ends with 1 where anything failed. With `--docs` all of it
is written to docs/pages/quickstart.md, with pictures of dashboard and report. Needs the extra `benchmarks`, and chromium.
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

from benchmarks.browsing import NOTE, PLOTS, browser

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "pages"
STUDY = "studies/quickstart.yaml"
ENDED = "the search ended"  # from here on its output is the result


@dataclass
class Newcomer:
    """Types commands in a clone, and remembers what they printed."""

    clone: Path
    told: list[tuple[str, str]] = field(default_factory=list)  # command, output

    def types(self, *command: str, show: bool = False) -> str:
        """What a command prints; where it fails, that is the end."""
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
        self.told.append((" ".join(command), "".join(lines)))
        return "".join(lines)

    @contextmanager
    def dashboard(self, *command: str) -> Iterator[str]:
        """The dashboard's address, while it serves."""
        print("$", *command, flush=True)
        process = subprocess.Popen([*command, "--port", "0"], cwd=self.clone, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None, "the dashboard says where it is"
        yield address[0]
        process.terminate()
        process.wait()


def main(keep: Path | None, docs: bool) -> None:
    """In a folder that is gone afterwards, unless it is to be kept."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, browser() as look:
        pictures = PAGES / "screens" if docs else Path(place)
        pictures.mkdir(exist_ok=True)
        clone = keep or Path(place) / "autocompress"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        newcomer = Newcomer(clone)
        begun = time.monotonic()
        out = newcomer.types("make", "quickstart", show=True)
        minutes, seconds = divmod(round(time.monotonic() - begun), 60)
        newcomer.told = [("make quickstart", out[out.index(ENDED) :])]
        commands = [line.split() for line in out.partition("next:")[2].splitlines() if line.startswith("  ")]
        export = next(command for command in commands if "export" in command)
        for command in commands:
            if "dashboard" not in command:
                newcomer.types(*command)
                continue
            with newcomer.dashboard(*command) as address:
                look(address, PLOTS, pictures / "dashboard.png")
                trial = export[export.index("--trial") + 1]
                look(f"{address}/trials?numbers={trial}", NOTE, pictures / "trial.png")
        newcomer.types(".venv/bin/autocompress", "report", STUDY)
        look((clone / "studies/quickstart/report.html").resolve().as_uri(), PLOTS, pictures / "report.png")
        folder = clone / export[export.index("--to") + 1]
        code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        assert code is not None, "the card says how to run the model"
        python = [str((clone / ".venv/bin/python").absolute()), "-c", code[1]]
        answer = subprocess.run(python, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
        row = json.loads((folder / "measurement.json").read_text(encoding="utf-8"))["row"]
    summary = (
        f"`make quickstart` took {minutes} min {seconds} s, installation included. The exported model, trial {row['trial']}, "
        f"is {row['speedup']:.1f} times as fast and {row['compression']:.1f} times smaller than its teacher, and loses "
        f"{100 * row['test_drop']:.1f} points on test; the code of its card answers {answer!r}."
    )
    print(summary)
    if docs:
        (PAGES / "quickstart.md").write_text(page(summary, newcomer.told, code[1]), encoding="utf-8")


def page(summary: str, told: list[tuple[str, str]], code: str) -> str:
    """All that was typed, and what came of it."""
    after = {
        "make": [
            "![The study in the dashboard](screens/dashboard.png)",
            "![A trial in the dashboard](screens/trial.png)",
        ],
        "report": ["![The report](screens/report.png)"],
    }
    parts = [
        "# The quickstart, as it went",
        f"Written by `python -m benchmarks.quickstart --docs` in a clone that was made for it. {summary}",
    ]
    for command, out in told:
        text = "\n".join(line.rstrip() for line in out.strip("\n").splitlines())
        parts.append(f"```text\n$ {command}\n{text}\n```")
        parts += next((pictures for word, pictures in after.items() if word in command.split()), [])
    parts.append(f"The code of the exported model's card, which was run in its folder:\n\n```text\n{code.strip()}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, default=None, help="where the clone stays")
    parser.add_argument("--docs", action="store_true", help="write docs/pages/quickstart.md")
    arguments = parser.parse_args()
    main(arguments.keep, arguments.docs)
