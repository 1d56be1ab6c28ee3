"""The worker process: it receives jobs, runs them on one warm pipeline, and sends progress and results back."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.config import StudyPlan
from autocompress.core.errors import AutocompressError, DeviceLost, UsageError
from autocompress.core.parent_watchdog import exit_with_parent
from autocompress.search.jobs import Job, JobResult, Progress, RunSettings
from autocompress.storage.artifact_store import Store, sibling_stores
from autocompress.training.time_fitting import TrainingRates

if TYPE_CHECKING:
    from autocompress.search.trial_pipeline import TrialPipeline

PROGRESS_SECONDS = 0.5  # between two messages on the progress of one stage


def run_child(pipe: Connection, parent: int, plan: StudyPlan, root: Path, threads: int, offline: bool) -> None:
    """Run jobs until the pipe closes or the parent process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    exit_with_parent(parent)
    store = Store(root, sibling_stores(root) if plan.engine.reuse else ())
    pipeline: TrialPipeline | None = None
    while True:
        try:
            job, settings = pipe.recv()
        except EOFError:
            return
        with _output_to(store.log(job.trial)):
            try:
                if pipeline is None:
                    pipe.send(Progress("starting the worker", 0.0))
                    pipeline = _open_pipeline(plan, store, threads, offline)
                result = run_job(pipeline, job, settings, pipe)
            except Exception as error:  # one failed trial; its trace is in the trial's log
                traceback.print_exc()
                result = _failure(error)
        pipe.send(result)


def run_job(pipeline: TrialPipeline, job: Job, settings: RunSettings, pipe: Connection) -> JobResult:
    """Run one job; progress is sent so rarely that the pipe does not fill up while the supervisor is busy."""
    last, last_time = Progress("", 0.0), 0.0

    def report_progress(stage: str, fraction: float) -> None:
        nonlocal last, last_time
        now = time.monotonic()
        if stage != last.stage or now - last_time >= PROGRESS_SECONDS:
            last, last_time = Progress(stage, fraction), now
            pipe.send(last)

    pipeline.apply_settings(settings)
    if job.kind == "teacher":
        with _all_cores():  # the other workers have nothing to do yet
            return JobResult(outcome=pipeline.run_teacher(report_progress))
    if job.kind == "shared":
        with _all_cores():
            pipeline.run_shared(report_progress)
        return JobResult()
    if job.kind == "calibration":
        with _all_cores():
            label, supernet_step = pipeline.measure_shared_rates(report_progress)
        rates = pipeline.measure_worker_rates(report_progress)
        return JobResult(rates=TrainingRates(label=label, supernet_step=supernet_step, **rates))
    if job.kind == "test":
        quality, other_devices = pipeline.run_test(job.artifacts, report_progress)
        return JobResult(quality=quality, other_devices=other_devices)
    if job.kind == "agreement":
        return JobResult(agreement=pipeline.run_agreement(job.artifacts, job.parts, report_progress))
    if job.recipe is None:
        raise ValueError(f"a job of kind {job.kind} needs a recipe")
    if job.kind == "other_devices":
        return JobResult(measured=pipeline.run_other_devices(job.recipe, job.rung, job.devices, report_progress))
    return JobResult(outcome=pipeline.run_trial(job.recipe, job.rung, job.limits, report_progress))


def count_cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open_pipeline(plan: StudyPlan, store: Store, threads: int, offline: bool) -> TrialPipeline:
    import torch
    from transformers.utils import logging

    from autocompress.search.trial_pipeline import TrialPipeline

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    torch.set_num_threads(threads)
    return TrialPipeline(plan, store, offline)


def _failure(error: Exception) -> JobResult:
    """Return the result of a job that an exception ended."""
    if isinstance(error, (AutocompressError, MemoryError)):
        text = str(error) or type(error).__name__
    else:
        text = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}"
    return JobResult(
        error=text, is_usage_error=isinstance(error, UsageError), is_device_lost=isinstance(error, DeviceLost)
    )


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let torch use every core for a while."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(count_cores())
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
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
