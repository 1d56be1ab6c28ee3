"""Executors run the jobs of a search: one file per kind. `tests/contracts/executor.py` holds the tests that each must pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from autocompress.search.jobs import Job, JobResult, Progress, RunSettings

Message = Progress | JobResult


class Executor(Protocol):
    """Runs jobs in slots, which are numbered from 0.

    A job that fails, or whose process dies, is a result with an error; no method raises for it.
    """

    @property
    def capacity(self) -> int:
        """The number of slots: of jobs that run at the same time."""

    def submit(self, job: Job, settings: RunSettings) -> int:
        """Start a job in a free slot and return the slot. ValueError where none is free."""

    def poll(self, seconds: float) -> Mapping[int, Message]:
        """Return the next message of each slot that has one, after at most so many seconds; a result frees its slot."""

    def cancel(self, slot: int) -> None:
        """End the job of a slot now, and free the slot; its result is lost."""

    def close(self) -> None:
        """End all jobs and processes now."""
