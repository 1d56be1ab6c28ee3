"""Warm child processes that run the jobs. After a crash, or a kill for lack of memory, one trial has failed, with its reason.

A child is spawned with `OMP_WAIT_POLICY=PASSIVE`, since a spinning OpenMP thread beside a busy core slows training
30-fold. It is replaced after a crash or after `TRIALS_PER_CHILD` trials, and ends with its supervisor. It does not import
the program that searches, so that a script needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from autocompress.config import StudyPlan
from autocompress.search.executors import Message
from autocompress.search.executors.child import count_cores, run_child
from autocompress.search.jobs import Job, JobResult, RunSettings
from autocompress.storage.artifact_store import Store

TRIALS_PER_CHILD = 50
LOG_LINES = 5  # of a crashed trial's log, kept in its reason
log = logging.getLogger(__name__)


class LocalExecutor:
    """Runs jobs in child processes of this program, each with its share of the cores; the methods are those of `Executor`."""

    def __init__(self, plan: StudyPlan, offline: bool) -> None:
        threads = max(1, count_cores() // plan.workers)
        self._workers = [Worker(plan, threads, offline) for _ in range(plan.workers)]

    @property
    def capacity(self) -> int:
        return len(self._workers)

    def submit(self, job: Job, settings: RunSettings) -> int:
        for slot, worker in enumerate(self._workers):
            if worker.job is None:
                worker.start(job, settings)
                return slot
        raise ValueError(f"all {self.capacity} slots run a job; submit trial {job.trial} when one is free")

    def poll(self, seconds: float) -> Mapping[int, Message]:
        pipes = [worker.pipe for worker in self._workers if worker.job is not None and worker.pipe is not None]
        if not pipes:
            return {}
        wait(pipes, seconds)
        messages = {slot: worker.receive() for slot, worker in enumerate(self._workers) if worker.job is not None}
        return {slot: message for slot, message in messages.items() if message is not None}

    def cancel(self, slot: int) -> None:
        self._workers[slot].close()

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


class Worker:
    """One child process at a time, replaced after a crash or after `TRIALS_PER_CHILD` trials."""

    def __init__(self, plan: StudyPlan, threads: int, offline: bool) -> None:
        root = plan.artifacts.path
        self._arguments = (plan, root, threads, offline)
        self._threads, self._offline, self._store = threads, offline, Store(root)
        self._process: SpawnProcess | None = None
        self._finished_jobs = 0
        self.pipe: Connection | None = None  # of the child's messages
        self.job: Job | None = None

    def start(self, job: Job, settings: RunSettings) -> None:
        """Send the child a job; spawn a child if there is none."""
        if self._finished_jobs >= TRIALS_PER_CHILD:
            self.close()
        if self._process is None or not self._process.is_alive():
            self._spawn()
        assert self.pipe is not None  # set by _spawn
        self.job = job
        self.pipe.send((job, settings))

    def receive(self) -> Message | None:
        """Return the child's next message, null if there is none; a child that died gives a `JobResult` with the reason."""
        assert self.pipe is not None, "receive after start"
        try:
            if not self.pipe.poll():
                return None
            message: Message = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            message = JobResult(error=self._describe_crash(), is_crash=True)
        if isinstance(message, JobResult):
            self.job = None
            self._finished_jobs += 1
        return message

    def close(self) -> None:
        """End the child now; a running job is abandoned."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process, self.pipe, self._finished_jobs, self.job = None, None, 0, None

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, childs_end = context.Pipe()
        self._process = context.Process(target=run_child, args=(childs_end, os.getpid(), *self._arguments), daemon=True)
        with _child_environment(self._threads, self._offline), _hidden_main_module():
            self._process.start()
        childs_end.close()
        self._finished_jobs = 0
        log.debug("worker process %s started", self._process.pid)

    def _describe_crash(self) -> str:
        """Describe how the child ended, with the last lines of its log."""
        assert self.job is not None and self._process is not None  # only asked while a job runs
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


@contextmanager
def _hidden_main_module() -> Iterator[None]:
    """Hide the program from `multiprocessing`, whose children would import it, and so run a script a second time."""
    program = sys.modules["__main__"]
    sys.modules["__main__"] = type(program)("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program
