"""The queue of runs: states of a run, and what the agent's log and the host learn of a failure."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from autocompress.benchmarking.agent import run_queue
from autocompress.benchmarking.agent.model_cache import ModelCache
from autocompress.benchmarking.agent.run_process import MAX_MESSAGE_CHARACTERS, RunLimits, RunMessages, run_environment
from autocompress.benchmarking.agent.run_queue import QueuedRun, RunQueue
from autocompress.benchmarking.agent.run_request import RunRequest
from tests.devices import TOKEN

MODEL, NAME = "a" * 64, "b" * 64


def make_queue(folder: Path) -> RunQueue:
    return RunQueue(ModelCache(folder, 10**9, 10**9), RunLimits(seconds=60.0, memory_bytes=4 * 10**9))


def execute(queue: RunQueue) -> QueuedRun:
    """Submit a run of a row of three tokens, and serve the queue until it has ended."""

    async def submit_and_serve() -> QueuedRun:
        request = RunRequest(kind="logits", model=MODEL, lengths=(3,))
        run = queue.submit(NAME, request, b"\1\0\0\0\2\0\0\0\3\0\0\0")
        server = asyncio.create_task(queue.serve())
        await asyncio.wait_for(run.event.wait(), 60)
        server.cancel()
        return run

    return asyncio.run(submit_and_serve())


def log_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "autocompress.benchmarking.agent.run_queue"]


def test_a_run_without_its_model_is_evicted(tmp_path: Path) -> None:
    queue = make_queue(tmp_path)
    run = execute(queue)
    assert run.state == "evicted"
    assert run.name not in queue.runs


def test_stderr_of_a_failed_run_is_logged_and_not_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    queue = make_queue(tmp_path)
    folder = queue.cache.folder(MODEL)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"no model")
    run = execute(queue)
    assert run.state == "failed" and run.reason
    [record] = log_records(caplog)
    assert record.levelno == logging.WARNING
    assert "Traceback (most recent call last)" in record.getMessage() and run.reason[:10] in record.getMessage()
    assert "Traceback" not in run.reason and str(tmp_path) not in run.reason


def test_traceback_of_an_unexpected_exception_is_logged_and_not_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> bytes:
        raise OSError(f"no space in {tmp_path}")

    monkeypatch.setattr(run_queue, "execute_run", fail)
    queue = make_queue(tmp_path)
    queue.cache.folder(MODEL).mkdir()
    run = execute(queue)
    assert run.state == "failed"
    assert run.reason == "the agent failed with OSError; its log has the traceback"
    [record] = log_records(caplog)
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None and isinstance(record.exc_info[1], OSError)


def test_run_messages_keep_progress_and_the_last_lines() -> None:
    messages = RunMessages()
    for line in ("0.25", "first", "", "last"):
        messages.add(line)
    assert (messages.fraction, str(messages)) == (0.25, "first\n\nlast")
    for _ in range(11):
        messages.add("x" * (MAX_MESSAGE_CHARACTERS // 10))
    assert "last" not in str(messages)
    assert len(str(messages)) <= MAX_MESSAGE_CHARACTERS


def test_the_process_of_a_run_does_not_know_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_TOKEN", TOKEN)
    assert TOKEN not in run_environment().values()
