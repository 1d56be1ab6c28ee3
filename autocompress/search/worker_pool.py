"""The workers of one search, and the signals that end it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from autocompress.config import StudyPlan
from autocompress.search.display import Display
from autocompress.search.executors.local import Worker, cores
from autocompress.search.jobs import Job, JobResult, Progress, RunSettings

POLL_SECONDS = 0.5


@dataclass
class InterruptFlag:
    """Set by Ctrl-C or SIGTERM; a second one ends the program at once."""

    asked: bool = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@dataclass
class WorkerPool:
    """Some workers, each with its share of the cores."""

    workers: list[Worker]
    display: Display
    interrupt: InterruptFlag = field(default_factory=InterruptFlag)
    tick: Callable[[], None] = lambda: None  # called while a job is waited for

    @property
    def idle(self) -> list[Worker]:
        """Those without a job."""
        return [worker for worker in self.workers if worker.job is None]

    @property
    def busy(self) -> list[Worker]:
        """Those with one."""
        return [worker for worker in self.workers if worker.job is not None]

    def settle(self, settings: RunSettings) -> None:
        """Tell all of them what holds from now on."""
        for worker in self.workers:
            worker.settings = settings

    def alone(self, job: Job, words: str, stoppable: bool = True) -> JobResult | None:
        """Run one job to its end on the first worker; null when interrupted."""
        worker = self.workers[0]
        worker.start(job)
        while not (stoppable and self.interrupt.asked):
            said = worker.poll(POLL_SECONDS)
            if isinstance(said, Progress):
                self.display.stage(0, job.trial, words, said.stage, said.fraction)
            elif said is not None:
                return said
            self.tick()
        worker.close()
        return None

    def abandon_jobs(self) -> None:
        """End every job that runs: its trial is tried again when the study goes on."""
        for worker in self.busy:
            worker.close()


@contextmanager
def open_worker_pool(plan: StudyPlan, display: Display, offline: bool) -> Iterator[WorkerPool]:
    """The workers of a plan; ended at the end, whatever happens."""
    threads = max(1, cores() // plan.workers)
    pool = WorkerPool([Worker(plan, plan.artifacts.path, threads, offline) for _ in range(plan.workers)], display)
    try:
        yield pool
    finally:
        for worker in pool.workers:
            worker.close()


@contextmanager
def catching_signals(interrupt: InterruptFlag) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the search to end instead of breaking it."""
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
