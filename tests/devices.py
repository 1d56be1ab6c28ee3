"""A device with an agent, for tests: a process of its own on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autocompress.agent.client import RemoteDevice

TOKEN = "a token for tests only"


@dataclass
class Running:
    """An agent in a process of its own."""

    url: str
    process: subprocess.Popen[str]
    hosts: ExitStack = field(default_factory=ExitStack)

    def device(self, token: str = TOKEN, **options: Any) -> RemoteDevice:
        return self.hosts.enter_context(RemoteDevice(self.url, token, patience=30.0, **options))


@contextmanager
def agent(folder: Path, *options: str, port: int = 0) -> Iterator[Running]:
    command = [sys.executable, "-m", "autocompress", "agent", "--port", str(port), "--folder", str(folder), *options]
    environment = {**os.environ, "AUTOCOMPRESS_TOKEN": TOKEN}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("agent: "), line + process.stderr.read()
        running = Running(line.removeprefix("agent: ").strip(), process)
        with running.hosts:
            yield running
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
