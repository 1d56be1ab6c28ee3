"""The folder of long work that goes on after a kill: its state as JSON files, its time, and how often it was killed where."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autocompress.core.json_types import Json

MOST_DEATHS = 3  # of the process in one step, after which the step counts as impossible; Ctrl-C is one, too


@dataclass(frozen=True)
class WorkFolder:
    """A folder of JSON files, each replaced as a whole."""

    path: Path

    def read(self, name: str) -> Json | None:
        """Return what was written under a name; null where nothing was."""
        file = self.file(f"{name}.json")
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def write(self, name: str, values: Json) -> None:
        """Write under a name, whatever stood there."""
        self.path.mkdir(parents=True, exist_ok=True)
        unfinished = self.file(f"{name}.new")
        unfinished.write_text(json.dumps(values), encoding="utf-8")
        os.replace(unfinished, self.file(f"{name}.json"))

    def file(self, name: str) -> Path:
        """Return the file of that name."""
        return self.path / name

    # ---- time ------------------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """The time of the work, before kills too as far as it was saved (`save_seconds`)."""
        before, start = self._clock
        return before + time.monotonic() - start

    def save_seconds(self) -> None:
        """Save the time of the work."""
        self.write("clock", {"seconds": self.seconds})

    @cached_property
    def _clock(self) -> tuple[float, float]:
        return (self.read("clock") or {"seconds": 0.0})["seconds"], time.monotonic()

    # ---- kills -----------------------------------------------------------------------------------------------------

    def begin_step(self, number: int, saved: Path) -> None:
        """Note that a step begins whose progress is saved in a file."""
        step = self.read("step") or {}
        deaths = step["deaths"] if step.get("number") == number else 0
        self.write("step", {"number": number, "deaths": deaths, "saved": saved.name, "since": time.time()})

    def end_step(self) -> None:
        """Note that the step has ended, and remove what it saved."""
        step = self.read("step")
        if step is not None:
            self.file(step["saved"]).unlink(missing_ok=True)
            self.file("step.json").unlink()

    def killed_step(self) -> int | None:
        """Return the number of a step in which the process was killed several times without progress, and end it."""
        step = self.read("step")
        if step is None:
            return None
        saved = self.file(step["saved"])
        has_progressed = saved.is_file() and saved.stat().st_mtime > step["since"]
        deaths = 1 if has_progressed else step["deaths"] + 1
        if deaths < MOST_DEATHS:
            self.write("step", {**step, "deaths": deaths})
            return None
        self.end_step()
        return int(step["number"])
