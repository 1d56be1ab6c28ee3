"""Execute a run in a process of its own, within limits of memory, time and output."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from autocompress.benchmarking.agent.errors import RunFailed
from autocompress.benchmarking.agent.run_request import RunRequest

MAX_OUTPUT_BYTES = 64_000_000
MAX_FILE_BYTES = 16_000_000  # a runtime's profile, in the run's own folder
MAX_REASON_CHARACTERS = 500
MAX_MESSAGE_CHARACTERS = 1_000_000
READ_BYTES, MAX_LINE_BYTES = 1 << 16, 1 << 20
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class RunLimits:
    """The limits of one run."""

    seconds: float
    memory_bytes: int

    def apply(self) -> None:
        """Limit the current process, before it starts the program of a run."""
        resource.setrlimit(resource.RLIMIT_AS, (self.memory_bytes, self.memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))


@dataclass
class RunMessages:
    """The lines that the process of a run has printed to stderr: its progress, and all others."""

    fraction: float = 0.0
    lines: deque[str] = field(default_factory=deque)
    characters: int = 0

    def add(self, line: str) -> None:
        """Take a line: a number is the fraction done. Beyond a million characters the oldest lines are dropped."""
        try:
            self.fraction = float(line)
        except ValueError:
            self.lines.append(line)
            self.characters += len(line) + 1
            while self.characters > MAX_MESSAGE_CHARACTERS:
                self.characters -= len(self.lines.popleft()) + 1

    def clear(self) -> None:
        """Drop the lines."""
        self.lines.clear()
        self.characters = 0

    def __str__(self) -> str:
        return "\n".join(self.lines)


async def execute_run(
    run: RunRequest, body: bytes, folders: Sequence[Path], limits: RunLimits, messages: RunMessages
) -> bytes:
    """Return the output of the process that does a run; RunFailed where it fails or exceeds a limit."""
    header = run.model_dump_json().encode() + b"\n" + json.dumps([str(folder) for folder in folders]).encode() + b"\n"
    with tempfile.TemporaryDirectory() as scratch:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "autocompress.benchmarking.agent.runner",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=run_environment() | {"TMPDIR": scratch}, start_new_session=True, preexec_fn=limits.apply,
            limit=MAX_LINE_BYTES,
        )  # fmt: skip
        try:
            async with asyncio.timeout(limits.seconds):
                _, output, _ = await asyncio.gather(
                    _write_input(process, header + body),
                    _read_output(process),
                    _read_messages(process, messages),
                )
                code = await process.wait()
        except TimeoutError:
            raise RunFailed(f"the run took longer than {limits.seconds:.0f} s, the device's limit for a run") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code != 0:
        raise RunFailed(_describe_failure(code, messages.lines))
    return output


def run_environment() -> dict[str, str]:
    """Return the environment of a run's process: no token, nothing else of the agent's."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}


async def _write_input(process: asyncio.subprocess.Process, text: bytes) -> None:
    assert process.stdin is not None
    with suppress(ConnectionError):  # the process ended before it had read everything: its exit code says why
        process.stdin.write(text)
        await process.stdin.drain()
    process.stdin.close()


async def _read_output(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    parts, size = [], 0
    while part := await process.stdout.read(READ_BYTES):
        size += len(part)
        if size > MAX_OUTPUT_BYTES:
            raise RunFailed(f"the model returns more than {MAX_OUTPUT_BYTES:,} bytes of logits")
        parts.append(part)
    return b"".join(parts)


async def _read_messages(process: asyncio.subprocess.Process, messages: RunMessages) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        messages.add(line.decode("utf-8", "replace").rstrip())


def _describe_failure(code: int, lines: Sequence[str]) -> str:
    """Return why a process ended, without any path of this device."""
    if code < 0:
        return f"the run was ended by {signal.Signals(-code).name}; the model may need more memory than a run is given"
    last = next((line for line in reversed(lines) if line), "the process gave no reason")
    return " ".join(word for word in last[:MAX_REASON_CHARACTERS].split() if "/" not in word)
