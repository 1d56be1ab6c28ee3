"""Time all models of a case in rounds: each in a process of its own, one block at a time, while the others wait."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from autocompress.benchmarking.latency import BETWEEN_PROCESSES, half_width

ROUNDS = 10
MOST_SECONDS = 600  # of an answer, before the process is ended
Kind = str  # "model": from token ids to logits; "texts": from a text to its label


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The time of one model, and its ratio to the reference in the same rounds."""

    milliseconds: float  # median over the rounds
    speedup: float  # reference ÷ model, geometric mean over the rounds
    interval: tuple[float, float]  # 95 %


@dataclass
class Timings:
    """The seconds of every model, round by round, and why a model was lost."""

    seconds: dict[Kind, dict[str, list[float]]] = field(default_factory=lambda: {"model": {}, "texts": {}})
    failures: dict[str, str] = field(default_factory=dict)

    def ratios(self, kind: Kind, reference: str) -> dict[str, Ratio]:
        """Return the ratio of each model that was timed in this way."""
        return {name: compare(self.seconds[kind][reference], values) for name, values in self.seconds[kind].items()}


def compare(reference: Sequence[float], seconds: Sequence[float]) -> Ratio:
    """Return the ratio of two models that were timed in the same rounds; its interval covers other processes, too."""
    logs = np.log(np.array(reference) / np.array(seconds))
    middle, half = float(logs.mean()), float(np.hypot(half_width(list(logs)), 1.96 * BETWEEN_PROCESSES))
    if list(reference) == list(seconds):  # the reference itself
        half = 0.0
    interval = float(np.exp(middle - half)), float(np.exp(middle + half))
    return Ratio(milliseconds=1e3 * float(np.median(seconds)), speedup=float(np.exp(middle)), interval=interval)


def time_models(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], logs: Path, rounds: int = ROUNDS
) -> Timings:
    """Start every model's process, and take blocks from one after another, `rounds` times."""
    timings = Timings()
    with ExitStack() as stack:
        servers: dict[str, _Server] = {}
        for name, command in commands.items():
            log = stack.enter_context((logs / f"{name}.log").open("a", encoding="utf-8"))
            server = _Server(command, environment, log)
            stack.callback(server.close)
            answer = server.read()  # one after another, so that they warm up undisturbed
            if "failure" in answer:
                timings.failures[name] = answer["failure"]
            else:
                servers[name] = server
                timings.seconds["texts"][name] = []
                if answer["has_session"]:
                    timings.seconds["model"][name] = []
        for _ in range(rounds):
            _take_round(servers, timings)
    return timings


def _take_round(servers: dict[str, _Server], timings: Timings) -> None:
    for name, server in list(servers.items()):
        for kind, values in timings.seconds.items():
            if name not in values:
                continue
            answer = server.ask(kind)
            if "failure" in answer:
                timings.failures[name] = answer["failure"]
                for lost in timings.seconds.values():
                    lost.pop(name, None)
                del servers[name]
                break
            values[name].append(answer["seconds"])


class _Server:
    """A process that has opened a model and times it when asked."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: IO[str]) -> None:
        self._log = Path(log.name)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                         env=environment)  # fmt: skip

    def ask(self, question: str) -> dict[str, Any]:
        """Return the answer to a line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended; `read` says so
        return self.read()

    def read(self) -> dict[str, Any]:
        """Return the next answer, or why there is none."""
        assert self._process.stdout is not None
        timer = threading.Timer(MOST_SECONDS, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        return json.loads(line) if line else {"failure": last_line(self._log)}

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=30)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def last_line(log: Path) -> str:
    """Return the last line that a failed process wrote, without folders."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return shorten(lines[-1] if lines else "the process ended without a message")


def shorten(message: str, length: int = 300) -> str:
    """Return a message without the folders of files, which say nothing on another machine."""
    return re.sub(r"(?<![\w.])(?:/[^\s/'\"]+)*/(?=[^\s/'\"])", "", message)[:length]
