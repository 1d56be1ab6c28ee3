"""The workers of one search, and the signals that end it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from autocompress.config import StudyPlan
from autocompress.search.display import Display
from autocompress.search.executors.child import count_cores
from autocompress.search.executors.local import Worker
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


@dataclass
class WorkerPool:
    """The workers of a search, each with its share of the cores."""

    workers: list[Worker]
    display: Display
    interrupt: InterruptFlag = field(default_factory=InterruptFlag)
    tick: Callable[[], None] = lambda: None  # called while `run_alone` waits

    @property
    def idle(self) -> list[Worker]:
        """Workers without a job."""
        return [worker for worker in self.workers if worker.job is None]

    @property
    def busy(self) -> list[Worker]:
        """Workers with a job."""
        return [worker for worker in self.workers if worker.job is not None]

    def apply_settings(self, settings: RunSettings) -> None:
        """Send these settings with every job from now on."""
        for worker in self.workers:
            worker.settings = settings

    def run_alone(self, job: Job, label: str, interruptible: bool = True) -> JobResult | None:
        """Run one job to its end on the first worker; return null when interrupted. `label` describes it in the display."""
        worker = self.workers[0]
        worker.start(job)
        while not (interruptible and self.interrupt.is_set):
            message = worker.poll(POLL_SECONDS)
            if isinstance(message, Progress):
                self.display.stage(0, job.trial, label, message.stage, message.fraction)
            elif message is not None:
                return message
            self.tick()
        self._abandon(worker)
        return None

    def abandon_jobs(self) -> None:
        """End every running job: its trial is tried again when the study continues."""
        for worker in self.busy:
            self._abandon(worker)

    def _abandon(self, worker: Worker) -> None:
        worker.close()
        self.display.abandoned(self.workers.index(worker))


@contextmanager
def open_worker_pool(plan: StudyPlan, display: Display, offline: bool) -> Iterator[WorkerPool]:
    """Open the workers of a plan; always end them on exit."""
    threads = max(1, count_cores() // plan.workers)
    root = plan.artifacts.path
    pool = WorkerPool([Worker(plan, root, threads, offline) for _ in range(plan.workers)], display)
    try:
        yield pool
    finally:
        for worker in pool.workers:
            worker.close()


@contextmanager
def catching_signals(interrupt: InterruptFlag) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set the flag instead of ending the program."""
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
