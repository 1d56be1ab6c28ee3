"""What a search relies on in an executor: real jobs in real processes, one of which is killed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autocompress.config import StudyPlan, read_plan
from autocompress.search.executors import Executor, Message
from autocompress.search.jobs import Job, JobResult, Progress, RunSettings
from tests.tiny import tiny_study

SECONDS = 120.0  # until a test gives up
LONG_JOB = Job("teacher", 0)  # fine-tunes the teacher
FAILING_JOB = Job("test", 7, artifacts={"onnxruntime": "0" * 64})  # there is no such artifact


class ExecutorContract(ABC):
    """The tests of an executor. A subclass opens the executor, and can kill the process that works in a slot."""

    @abstractmethod
    def open_executor(self, plan: StudyPlan) -> Executor:
        """Open an executor that may run `plan.workers` jobs at the same time."""

    @abstractmethod
    def kill_process(self, executor: Executor, slot: int) -> None:
        """Kill the process that runs the job of a slot, as a lack of memory would."""

    @pytest.fixture
    def plan(self, tmp_path: Path) -> StudyPlan:
        return read_plan(tiny_study(tmp_path, workers=2))

    @pytest.fixture
    def executor(self, plan: StudyPlan) -> Iterator[Executor]:
        executor = self.open_executor(plan)
        yield executor
        executor.close()

    def test_jobs_run_at_the_same_time_in_slots_of_their_own(self, executor: Executor) -> None:
        assert executor.capacity == 2
        assert dict(executor.poll(0.0)) == {}
        slots = {executor.submit(LONG_JOB, RunSettings()) for _ in range(2)}
        assert slots == {0, 1}
        with pytest.raises(ValueError, match="slot"):
            executor.submit(LONG_JOB, RunSettings())
        heard: set[int] = set()
        wait_until(lambda: heard.update(executor.poll(1.0)) or heard == slots)

    def test_a_job_reports_progress_and_an_error_is_its_result(self, executor: Executor, plan: StudyPlan) -> None:
        messages = []
        slot = executor.submit(FAILING_JOB, RunSettings())
        wait_until(lambda: messages.extend(executor.poll(1.0).items()) or is_result(messages[-1:]))
        assert {sender for sender, _ in messages} == {slot}
        assert all(isinstance(message, Progress) for _, message in messages[:-1]) and len(messages) > 1
        result = messages[-1][1]
        assert isinstance(result, JobResult) and result.error is not None and result.outcome is None
        assert executor.submit(FAILING_JOB, RunSettings()) == slot  # it is free again

    def test_a_killed_process_is_an_error_and_its_slot_works_again(self, executor: Executor) -> None:
        slot = executor.submit(LONG_JOB, RunSettings())
        wait_until(lambda: slot in executor.poll(1.0))  # it works
        self.kill_process(executor, slot)
        result = next_result(executor, slot)
        assert result.error is not None and "killed" in result.error
        assert executor.submit(FAILING_JOB, RunSettings()) == slot
        again = next_result(executor, slot)
        assert again.error is not None and "killed" not in again.error

    def test_cancel_frees_the_slot_and_no_result_follows(self, executor: Executor) -> None:
        cancelled = executor.submit(LONG_JOB, RunSettings())
        wait_until(lambda: cancelled in executor.poll(1.0))
        executor.cancel(cancelled)
        assert dict(executor.poll(0.0)) == {}
        assert executor.submit(FAILING_JOB, RunSettings()) == cancelled
        assert next_result(executor, cancelled).error is not None  # of the second job: the first one has no error

    def test_close_ends_running_jobs(self, executor: Executor) -> None:
        executor.submit(LONG_JOB, RunSettings())
        wait_until(lambda: bool(executor.poll(1.0)))
        executor.close()
        assert dict(executor.poll(0.0)) == {}


def next_result(executor: Executor, slot: int) -> JobResult:
    """Return the result of the job of a slot."""
    messages: list[tuple[int, Message]] = []
    wait_until(lambda: messages.extend(executor.poll(1.0).items()) or is_result(messages[-1:]))
    sender, result = messages[-1]
    assert sender == slot and isinstance(result, JobResult)
    return result


def is_result(last: list[tuple[int, Message]]) -> bool:
    return bool(last) and isinstance(last[0][1], JobResult)


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < end, f"not reached within {SECONDS} s"
