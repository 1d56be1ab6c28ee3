"""Warm child processes that do the trials. A crash, or a kill for want of memory, is one failed trial with its reason.

A child is spawned with `OMP_WAIT_POLICY=PASSIVE`, since a spinning OpenMP thread beside a busy core slows training
30-fold; it is replaced after a crash or after `TRIALS_PER_CHILD` trials, and ends with its supervisor.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from autocompress.config import StudyPlan
from autocompress.core.errors import AutocompressError, DeviceLost, UsageError
from autocompress.core.parent_watchdog import exit_with_parent
from autocompress.search.jobs import Job, JobResult, Progress, RunSettings
from autocompress.storage.artifact_store import Store, sibling_stores
from autocompress.training.time_fitting import TrainingRates

TRIALS_PER_CHILD = 50
PROGRESS_SECONDS = 0.5  # between two words on the progress of one stage
LOG_LINES = 5  # of a crashed trial's log, kept in its reason


class Worker:
    """One child at a time, replaced when it breaks or has done enough."""

    def __init__(self, plan: StudyPlan, root: Path, threads: int, offline: bool) -> None:
        self._arguments = (plan, root, threads, offline)
        self._threads, self._offline, self._store = threads, offline, Store(root)
        self._process: Any = None
        self._pipe: Connection | None = None
        self._done = 0
        self.settings = RunSettings()
        self.job: Job | None = None
        self.started = 0.0

    def start(self, job: Job) -> None:
        """Give the child a job; spawns one where there is none."""
        if self._done >= TRIALS_PER_CHILD:
            self.close()
        if self._process is None or not self._process.is_alive():
            self._spawn()
        assert self._pipe is not None  # set by _spawn
        self.job, self.started = job, time.monotonic()
        self._pipe.send((job, self.settings))

    def poll(self, seconds: float) -> Progress | JobResult | None:
        """The child's next word within so many seconds; a child that died gives a `Done` with the reason."""
        assert self._pipe is not None, "poll after start"
        try:
            if not self._pipe.poll(seconds):
                return None
            said: Progress | JobResult = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            said = JobResult(error=self._post_mortem())
        if isinstance(said, JobResult):
            self.job = None
            self._done += 1
        return said

    @property
    def pipe(self) -> Connection | None:
        """Where the child's words arrive: what a supervisor of several waits on."""
        return self._pipe

    def close(self) -> None:
        """End the child now; a running job is given up."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process, self._pipe, self._done, self.job = None, None, 0, None

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_child, args=(theirs, os.getpid(), *self._arguments), daemon=True)
        with _environment(self._threads, self._offline):
            self._process.start()
        theirs.close()
        self._done = 0

    def _post_mortem(self) -> str:
        """How the child ended, with the last lines of its log."""
        assert self.job is not None  # only asked while a job runs
        self._process.join(5)
        code, trial = self._process.exitcode, self.job.trial
        self._process = None
        log = self._store.log(trial)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
        return f"the worker {describe_exit(code)}" + (f"; last lines of its log: {' | '.join(lines)}" if lines else "")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_exit(code: int | None) -> str:
    """An exit code in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"ended with exit code {code}"


@contextmanager
def _environment(threads: int, offline: bool) -> Iterator[None]:
    """The variables a child needs before it imports anything; put back afterwards."""
    wanted = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} if offline else {}),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# ---- inside the child ----------------------------------------------------------------------------------------------


def _child(pipe: Connection, parent: int, plan: StudyPlan, root: Path, threads: int, offline: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    exit_with_parent(parent)
    store = Store(root, sibling_stores(root) if plan.engine.reuse else ())
    pipeline: Any = None
    while True:
        try:
            job, settings = pipe.recv()
        except EOFError:
            return
        with _logging_to(store.log(job.trial)):
            try:
                if pipeline is None:
                    pipe.send(Progress("starting the worker", 0.0))
                    pipeline = _open_pipeline(plan, store, threads, offline)
                pipeline.settle(settings)
                done = _do(pipeline, job, pipe)
            except UsageError as error:
                done = JobResult(error=str(error), usage=True)
            except DeviceLost as error:
                done = JobResult(error=str(error), lost=True)
            except (AutocompressError, MemoryError) as error:
                done = JobResult(error=str(error) or type(error).__name__)
            except Exception as error:  # whatever it is, it is one failed trial, and its trace is in the log
                traceback.print_exc()
                done = JobResult(error=f"{type(error).__name__}: {_first_line(error)}")
        pipe.send(done)


def _open_pipeline(plan: StudyPlan, store: Store, threads: int, offline: bool) -> Any:
    import torch
    from transformers.utils import logging

    from autocompress.search.trial_pipeline import TrialPipeline

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    torch.set_num_threads(threads)
    return TrialPipeline(plan, store, offline)


def _do(pipeline: Any, job: Job, pipe: Connection) -> JobResult:
    last = Progress("", 0.0), 0.0

    def report_progress(stage: str, fraction: float) -> None:
        nonlocal last
        said, now = Progress(stage, fraction), time.monotonic()
        if stage != last[0].stage or now - last[1] >= PROGRESS_SECONDS:  # a full pipe would hold the work up
            last = said, now
            pipe.send(said)

    if job.kind in ("teacher", "shared"):
        with _all_threads():  # the other workers have nothing to do yet
            return JobResult(
                outcome=pipeline.run_teacher(report_progress)
                if job.kind == "teacher"
                else pipeline.run_shared(report_progress)
            )
    if job.kind == "calibration":
        with _all_threads():
            label, supernet_step = pipeline.shared_rates(report_progress)
        return JobResult(
            rates=TrainingRates(label=label, supernet_step=supernet_step, **pipeline.own_rates(report_progress))
        )
    if job.kind == "test":
        quality, other_devices = pipeline.run_test(job.artifacts, report_progress)
        return JobResult(quality=quality, other_devices=other_devices)
    if job.kind == "other_devices":
        return JobResult(measured=pipeline.run_other_devices(job.recipe, job.rung, job.devices, report_progress))
    return JobResult(outcome=pipeline.run_trial(job.recipe, job.rung, job.bar, report_progress))


@contextmanager
def _all_threads() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(cores())
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no message")


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Send all that the process prints, C libraries included, to a trial's log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
