"""Warm child processes that run the jobs. After a crash, or a kill for lack of memory, one trial has failed, with its reason.

A child is spawned with `OMP_WAIT_POLICY=PASSIVE`, since a spinning OpenMP thread beside a busy core slows training
30-fold. It is replaced after a crash or after `TRIALS_PER_CHILD` trials, and ends with its supervisor.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from autocompress.config import StudyPlan
from autocompress.search.executors.child import run_child
from autocompress.search.jobs import Job, JobResult, Progress, RunSettings
from autocompress.storage.artifact_store import Store

TRIALS_PER_CHILD = 50
LOG_LINES = 5  # of a crashed trial's log, kept in its reason
log = logging.getLogger(__name__)


class Worker:
    """One child process at a time, replaced after a crash or after `TRIALS_PER_CHILD` trials."""

    def __init__(self, plan: StudyPlan, root: Path, threads: int, offline: bool) -> None:
        self._arguments = (plan, root, threads, offline)
        self._threads, self._offline, self._store = threads, offline, Store(root)
        self._process: Any = None
        self._pipe: Connection | None = None
        self._finished_jobs = 0
        self.settings = RunSettings()
        self.job: Job | None = None
        self.started = 0.0

    def start(self, job: Job) -> None:
        """Send the child a job; spawn a child if there is none."""
        if self._finished_jobs >= TRIALS_PER_CHILD:
            self.close()
        if self._process is None or not self._process.is_alive():
            self._spawn()
        assert self._pipe is not None  # set by _spawn
        self.job, self.started = job, time.monotonic()
        self._pipe.send((job, self.settings))

    def poll(self, seconds: float) -> Progress | JobResult | None:
        """Return the child's next message within so many seconds; a child that died gives a `JobResult` with the reason."""
        assert self._pipe is not None, "poll after start"
        try:
            if not self._pipe.poll(seconds):
                return None
            message: Progress | JobResult = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            message = JobResult(error=self._describe_crash())
        if isinstance(message, JobResult):
            self.job = None
            self._finished_jobs += 1
        return message

    @property
    def pipe(self) -> Connection | None:
        """The pipe of the child's messages; a supervisor of several workers waits on it."""
        return self._pipe

    def close(self) -> None:
        """End the child now; a running job is abandoned."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process, self._pipe, self._finished_jobs, self.job = None, None, 0, None

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, childs_end = context.Pipe()
        self._process = context.Process(target=run_child, args=(childs_end, os.getpid(), *self._arguments), daemon=True)
        with _child_environment(self._threads, self._offline):
            self._process.start()
        childs_end.close()
        self._finished_jobs = 0
        log.debug("worker process %s started", self._process.pid)

    def _describe_crash(self) -> str:
        """Describe how the child ended, with the last lines of its log."""
        assert self.job is not None  # only asked while a job runs
        self._process.join(5)
        code, path = self._process.exitcode, self._store.log(self.job.trial)
        self._process = None
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:] if path.exists() else []
        return f"the worker {describe_exit(code)}" + (f"; last lines of its log: {' | '.join(lines)}" if lines else "")


def describe_exit(code: int | None) -> str:
    """Describe an exit code in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"ended with exit code {code}"


@contextmanager
def _child_environment(threads: int, offline: bool) -> Iterator[None]:
    """Set the variables that a child needs before it imports anything; restore them afterwards."""
    variables = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} if offline else {}),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
