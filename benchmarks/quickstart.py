"""What a newcomer gets: `python benchmarks/quickstart.py [--keep DIR]`.

Clones this repository anew, types `make quickstart`, then every command that it prints, and the code of the exported model's
card. Prints how long all took and what the picked model is; ends with 1 where anything failed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main(keep: Path | None) -> None:
    """In a folder that is gone afterwards, unless it is to be kept."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        clone = keep or Path(place) / "autocompress"
        typed(["git", "clone", "-q", str(ROOT), str(clone)], Path.cwd())
        begun = time.monotonic()
        out = typed(["make", "quickstart"], clone, show=True)
        minutes, seconds = divmod(round(time.monotonic() - begun), 60)
        commands = [line.split() for line in out.partition("next:")[2].splitlines() if line.startswith("  ")]
        for command in commands:
            if "dashboard" in command:
                looked_at(command, clone)
            else:
                print(typed(command, clone))
        export = next(command for command in commands if "export" in command)
        folder = clone / export[export.index("--to") + 1]
        code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        assert code is not None, "the card says how to run the model"
        answer = typed([str(clone / ".venv/bin/python"), "-c", code[1]], folder)
        row = json.loads((folder / "measurement.json").read_text(encoding="utf-8"))["row"]
    print(f"make quickstart: {minutes} min {seconds} s, installation included; {len(commands)} printed commands typed")
    print(f"the exported model answers {answer.strip()!r}; trial {row['trial']}: {row['speedup']:.1f} times as fast,")
    print(f"{row['compression']:.1f} times smaller, {100 * row['test_drop']:.1f} points lost on test")


def typed(command: list[str], cwd: Path, show: bool = False) -> str:
    """What a command prints; where it fails, that is the end."""
    print("$", " ".join(command[:4]), flush=True)
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if show:
            print(line, end="", flush=True)
    if process.wait():
        sys.exit(f"{' '.join(command)} ended with {process.returncode}\n{''.join(lines)}")
    return "".join(lines)


def looked_at(command: list[str], cwd: Path) -> None:
    """The dashboard's page, asked for once."""
    process = subprocess.Popen([*command, "--port", "0"], cwd=cwd, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = re.search(r"http://\S+", process.stdout.readline())
    assert address is not None, "the dashboard says where it is"
    with urllib.request.urlopen(address[0]) as answer:
        print("$", " ".join(command), "→", address[0], answer.status)
    process.terminate()
    process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, default=None)
    main(parser.parse_args().keep)
