"""One run at a time, in the order in which they came; a run that was asked for twice is done once."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autocompress.benchmarking.agent.model_cache import ModelCache, ModelEvicted
from autocompress.benchmarking.agent.runner import RunRequest

MOST_WAITING, MOST_WAITING_BYTES = 256, 64_000_000
MOST_KEPT_BYTES = 64_000_000  # of answers that nobody fetched yet
MOST_ANSWER_BYTES = 64_000_000
MOST_FILE_BYTES = 16_000_000
KEPT_SECONDS = 600.0


class QueueFull(Exception):
    """As many runs wait as may."""


@dataclass
class QueuedRun:
    """A run and what became of it."""

    name: str
    run: RunRequest
    body: bytes
    state: str = "waiting"  # waiting | running | done | failed | gone: its model went before its turn came
    fraction: float = 0.0
    reason: str | None = None
    header: dict[str, Any] = field(default_factory=dict)
    answer: bytes = b""
    ended: float = 0.0
    event: asyncio.Event = field(default_factory=asyncio.Event)  # set at its end


class RunQueue:
    """Runs wait here. `serve` works them off."""

    def __init__(self, shelf: ModelCache, seconds: float, memory_bytes: int) -> None:
        self.shelf, self.seconds, self.memory_bytes = shelf, seconds, memory_bytes
        self.jobs: OrderedDict[str, QueuedRun] = OrderedDict()
        self._waiting: asyncio.Queue[QueuedRun] = asyncio.Queue()

    def join(self, name: str, run: RunRequest, body: bytes) -> QueuedRun:
        """Wait in line; the job that is there already where one of that name is."""
        self._forget()
        job = self.jobs.get(name)
        if job is not None and job.state != "failed":
            return job
        held = sum(len(other.body) for other in self.jobs.values())
        if self._waiting.qsize() >= MOST_WAITING or held + len(body) > MOST_WAITING_BYTES:
            raise QueueFull(f"{self._waiting.qsize()} runs wait already")
        job = self.jobs[name] = QueuedRun(name, run, body)
        self._waiting.put_nowait(job)
        return job

    def place(self, job: QueuedRun) -> int:
        """How many runs go before it."""
        ahead = 0
        for other in self.jobs.values():
            if other is job:
                break
            ahead += other.state in ("waiting", "running")
        return ahead

    async def serve(self) -> None:
        """Work the line off, for ever."""
        while True:
            job = await self._waiting.get()
            job.state = "running"
            try:
                await self._do(job)
                job.state = "done"
            except ModelEvicted:  # to be sent, and asked for, again
                job.state = "gone"
                del self.jobs[job.name]
            except Exception as error:  # whatever it is, it is one failed run
                job.state, job.reason = "failed", str(error) or type(error).__name__
            finally:
                job.body, job.ended = b"", time.monotonic()
                job.event.set()

    async def _do(self, job: QueuedRun) -> None:
        models = [job.run.model, *([job.run.reference] if job.run.reference else [])]
        with self.shelf.using(*models) as folders, tempfile.TemporaryDirectory() as place:
            output = await self._in_a_process(job, [str(folder) for folder in folders], place)
        header, _, job.answer = output.partition(b"\n")
        job.header = json.loads(header)

    async def _in_a_process(self, job: QueuedRun, folders: list[str], place: str) -> bytes:
        """The output of the process that does it; `place` is the only folder it writes into."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "autocompress.benchmarking.agent.runner",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=_environment() | {"TMPDIR": place}, start_new_session=True, preexec_fn=self._bounds, limit=1 << 20,
        )  # fmt: skip
        lines: list[str] = []
        header = job.run.model_dump_json().encode() + b"\n" + json.dumps(folders).encode() + b"\n"
        try:
            async with asyncio.timeout(self.seconds):
                _, output, _ = await asyncio.gather(
                    _feed(process, header + job.body), _read(process, MOST_ANSWER_BYTES), _watch(process, job, lines)
                )
                code = await process.wait()
        except TimeoutError:
            raise RuntimeError(
                f"it took longer than {self.seconds:.0f} s, the most that this device gives a run"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if code != 0:
            raise RuntimeError(_why(code, lines))
        return output

    def _bounds(self) -> None:
        """Limits of the process, set before it starts."""
        resource.setrlimit(resource.RLIMIT_AS, (self.memory_bytes, self.memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE_BYTES, MOST_FILE_BYTES))  # a profile, in its own folder

    def _forget(self) -> None:
        """Answers are kept for a while, for those who lost the connection."""
        ended = [job for job in self.jobs.values() if job.ended]
        held = sum(len(job.answer) for job in ended)
        for job in ended:
            if held <= MOST_KEPT_BYTES and time.monotonic() - job.ended < KEPT_SECONDS:
                continue
            held -= len(job.answer)
            del self.jobs[job.name]


async def _feed(process: asyncio.subprocess.Process, body: bytes) -> None:
    assert process.stdin is not None
    with suppress(ConnectionError):  # it ended before it had read all: its exit says why
        process.stdin.write(body)
        await process.stdin.drain()
    process.stdin.close()


async def _read(process: asyncio.subprocess.Process, most: int) -> bytes:
    assert process.stdout is not None
    parts, size = [], 0
    while part := await process.stdout.read(1 << 16):
        size += len(part)
        if size > most:
            raise RuntimeError(f"the model gives more than {most} bytes of logits")
        parts.append(part)
    return b"".join(parts)


async def _watch(process: asyncio.subprocess.Process, job: QueuedRun, lines: list[str]) -> None:
    """Progress, and the last lines of whatever else it says."""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        text = line.decode("utf-8", "replace").strip()
        try:
            job.fraction = float(text)
        except ValueError:
            lines.append(text[:500])
            del lines[:-20]


def _why(code: int, lines: list[str]) -> str:
    """The reason why a process ended, without a path of this device in it."""
    if code < 0:
        return f"the run was ended by {signal.Signals(-code).name}; the model may need more memory than a run is given"
    last = next((line for line in reversed(lines) if line), "it gave no reason")
    return " ".join(word for word in last.split() if "/" not in word)


def _environment() -> dict[str, str]:
    """What the process knows: no token, nothing else of the agent's."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONDONTWRITEBYTECODE": "1"}


def default_root() -> Path:
    """Where models are kept unless told otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "autocompress" / "agent"
