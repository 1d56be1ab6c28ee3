"""The running jobs of one search, and the signals that end it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from autocompress.config import StudyPlan
from autocompress.search.display import Display
from autocompress.search.executors import Executor
from autocompress.search.executors.local import LocalExecutor
from autocompress.search.jobs import Job, JobResult, Progress, RunSettings

POLL_SECONDS = 0.5


@dataclass
class InterruptFlag:
    """A signal handler. The first Ctrl-C or SIGTERM sets it; a second one ends the program at once."""

    is_set: bool = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.is_set:
            raise KeyboardInterrupt
        self.is_set = True


@dataclass(frozen=True)
class RunningJob:
    """A job that an executor runs."""

    job: Job
    label: str  # describes it in the display
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """The seconds since it was started."""
        return time.monotonic() - self.started


@dataclass(frozen=True)
class FinishedJob:
    """A job that has a result."""

    job: Job
    result: JobResult
    seconds: float


@dataclass
class WorkerPool:
    """The executor of a search, and the jobs that it runs; their progress is shown."""

    executor: Executor
    display: Display
    interrupt: InterruptFlag = field(default_factory=InterruptFlag)
    tick: Callable[[], None] = lambda: None  # called while `run_alone` waits
    settings: RunSettings = field(default_factory=RunSettings)  # of the jobs that are started from now on
    running: dict[int, RunningJob] = field(default_factory=dict)  # by slot

    @property
    def free(self) -> int:
        """The number of jobs that can be started now."""
        return self.executor.capacity - len(self.running)

    def start(self, job: Job, label: str) -> None:
        """Start a job; `label` describes it in the display."""
        self.running[self.executor.submit(job, self.settings)] = RunningJob(job, label)

    def poll(self) -> list[FinishedJob]:
        """Return the jobs that ended, and show the progress of the others; wait for a message for up to `POLL_SECONDS`."""
        finished = []
        for slot, message in self.executor.poll(POLL_SECONDS).items() if self.running else ():
            running = self.running[slot]
            if isinstance(message, Progress):
                self.display.stage(slot, running.job.trial, running.label, message.stage, message.fraction)
            else:
                del self.running[slot]
                finished.append(FinishedJob(running.job, message, running.seconds))
        return finished

    def run_alone(self, job: Job, label: str, interruptible: bool = True) -> JobResult | None:
        """Run one job to its end, while no other one runs; return null when interrupted."""
        self.start(job, label)
        while not (interruptible and self.interrupt.is_set):
            for finished in self.poll():
                return finished.result
            self.tick()
        self.abandon_jobs()
        return None

    def abandon_jobs(self) -> None:
        """End every running job: its trial is tried again when the study continues."""
        for slot in list(self.running):
            self.executor.cancel(slot)
            self.display.abandoned(slot)
            del self.running[slot]


@contextmanager
def open_worker_pool(plan: StudyPlan, display: Display, offline: bool) -> Iterator[WorkerPool]:
    """Open the workers of a plan; always end them on exit."""
    executor = LocalExecutor(plan, offline)
    try:
        yield WorkerPool(executor, display)
    finally:
        executor.close()


@contextmanager
def catching_signals(interrupt: InterruptFlag) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set the flag instead of ending the program; only the main thread can handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
