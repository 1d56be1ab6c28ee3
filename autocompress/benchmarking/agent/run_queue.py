"""The queue of runs: one at a time, in the order of arrival; a run that is submitted twice is done once."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from autocompress.benchmarking.agent.errors import ModelEvicted, QueueFull, RunFailed
from autocompress.benchmarking.agent.model_cache import ModelCache
from autocompress.benchmarking.agent.run_process import RunLimits, RunMessages, execute_run
from autocompress.benchmarking.agent.run_request import RunRequest
from autocompress.core.json_types import Json

log = logging.getLogger(__name__)
MAX_WAITING, MAX_WAITING_BYTES = 256, 64_000_000
MAX_ANSWER_BYTES, MAX_ANSWER_SECONDS = 64_000_000, 600.0  # how much, and how long, results are kept


@dataclass
class QueuedRun:
    """A run and its result."""

    name: str
    request: RunRequest
    body: bytes
    state: str = "waiting"  # waiting | running | done | failed | evicted: a model was evicted before the run began
    messages: RunMessages = field(default_factory=RunMessages)
    reason: str | None = None
    header: Json = field(default_factory=dict)
    answer: bytes = b""
    ended: float = 0.0
    event: asyncio.Event = field(default_factory=asyncio.Event)  # set when the run ends


class RunQueue:
    """Runs wait here until `serve` executes them."""

    def __init__(self, cache: ModelCache, limits: RunLimits) -> None:
        self.cache, self.limits = cache, limits
        self.runs: OrderedDict[str, QueuedRun] = OrderedDict()
        self._waiting: asyncio.Queue[QueuedRun] = asyncio.Queue()

    def submit(self, name: str, request: RunRequest, body: bytes) -> QueuedRun:
        """Add a run, or return the run of that name where it has not failed. QueueFull where there is no room."""
        self._drop_old_results()
        run = self.runs.get(name)
        if run is not None and run.state != "failed":
            return run
        waiting_bytes = sum(len(queued.body) for queued in self.runs.values())
        if self._waiting.qsize() >= MAX_WAITING or waiting_bytes + len(body) > MAX_WAITING_BYTES:
            raise QueueFull(f"the queue is full: {self._waiting.qsize()} runs wait; try again later")
        run = self.runs[name] = QueuedRun(name, request, body)
        self._waiting.put_nowait(run)
        return run

    def count_ahead(self, run: QueuedRun) -> int:
        """Return how many unfinished runs come before a run."""
        ahead = 0
        for queued in self.runs.values():
            if queued is run:
                break
            ahead += queued.state in ("waiting", "running")
        return ahead

    async def serve(self) -> None:
        """Execute the runs one after another, until cancelled."""
        while True:
            run = await self._waiting.get()
            run.state = "running"
            try:
                await self._execute(run)
                run.state = "done"
            except ModelEvicted:  # the host sends the model and the run again
                run.state = "evicted"
                del self.runs[run.name]
            except RunFailed as error:
                run.state, run.reason = "failed", str(error)
                log.warning("run %s failed: %s; stderr of its process:\n%s", run.name, error, str(run.messages))
            except Exception as error:  # one failed run must not end the queue; its text may hold a path of the device
                run.state = "failed"
                run.reason = f"the agent failed with {type(error).__name__}; its log has the traceback"
                log.exception("run %s failed unexpectedly; stderr of its process:\n%s", run.name, str(run.messages))
            finally:
                run.body, run.ended = b"", time.monotonic()
                run.messages.clear()
                run.event.set()

    async def _execute(self, run: QueuedRun) -> None:
        request = run.request
        models = [request.model, *([request.reference] if request.reference else [])]
        with self.cache.use(*models) as folders:
            output = await execute_run(request, run.body, folders, self.limits, run.messages)
        header, _, run.answer = output.partition(b"\n")
        run.header = json.loads(header)

    def _drop_old_results(self) -> None:
        """Drop results that are old or too large in all; others are kept for hosts that lost their connection."""
        ended = [run for run in self.runs.values() if run.ended]
        total = sum(len(run.answer) for run in ended)
        for run in ended:
            if total <= MAX_ANSWER_BYTES and time.monotonic() - run.ended < MAX_ANSWER_SECONDS:
                continue
            total -= len(run.answer)
            del self.runs[run.name]
