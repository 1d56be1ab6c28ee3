"""What a device is asked to do, and the process that does it: `python -m autocompress.benchmarking.agent.runner < job`.

Each run is a process of its own, with bounds on memory and time: whatever a model does to its runtime, the agent lives on.
Nothing is computed in the agent itself, so that a measurement has the device for itself.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from autocompress import benchmarking
from autocompress.core import registry
from autocompress.core.measurement import Timing
from autocompress.core.parent_watchdog import exit_with_parent
from autocompress.runtimes import DEFAULT_RUNTIME, portable_runtimes

MOST_ROWS, MOST_TOKENS, MOST_THREADS = 200_000, 4_096, 256


class RunRequest(BaseModel):
    """A run, as its JSON says; token ids follow it, one int32 after another (little-endian)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["logits", "latency"]
    model: str = Field(pattern=r"^[0-9a-f]{64}$")
    reference: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")  # what blocks alternate with
    runtime: str = DEFAULT_RUNTIME
    threads: int = Field(default=1, ge=1, le=MOST_THREADS)
    batch: int = Field(default=1, ge=1, le=1024)
    lengths: tuple[int, ...] = Field(min_length=1, max_length=MOST_ROWS)  # tokens of each row
    types: bool = False  # token types follow the ids, as many
    padding: int = Field(default=0, ge=0)
    effort: benchmarking.TimingBudget = benchmarking.TimingBudget()
    fresh: bool = True  # whether a latency run looks at a fresh process, too

    @field_validator("runtime")
    @classmethod
    def _installed(cls, value: str) -> str:
        if value not in portable_runtimes() or registry.load("runtimes", value).available() is None:
            raise ValueError(f"the runtime {value[:40]!r} is not installed on this device")
        return value

    def rows(self, body: bytes) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Ids and token types of each row; ValueError where there are more or fewer than the lengths say."""
        if min(self.lengths) < 1 or max(self.lengths) > MOST_TOKENS:
            raise ValueError(f"1 to {MOST_TOKENS} tokens a row must hold")
        total = sum(self.lengths)
        if len(body) != 4 * total * (1 + self.types):
            raise ValueError(f"{total} tokens are announced, but {len(body)} bytes came")
        numbers = np.frombuffer(body, "<i4").astype(np.int64)
        edges = np.cumsum(self.lengths)[:-1]
        ids, types = numbers[:total], numbers[total:] if self.types else np.zeros(total, np.int64)
        return np.split(ids, edges), np.split(types, edges)


def main() -> None:
    """Read a job, do it, write what came out; the last line of stderr is the reason where that was not to be."""
    exit_with_parent(os.getppid())
    header = sys.stdin.buffer.readline()
    folders = json.loads(sys.stdin.buffer.readline())
    run = RunRequest.model_validate_json(header)
    runtime = registry.load("runtimes", run.runtime)
    feeds = list(_feeds(run, *run.rows(sys.stdin.buffer.read())))
    openers = [partial(runtime.open_session, Path(folder), run.threads) for folder in folders]
    if run.kind == "logits":
        session, logits = openers[0](), []
        for number, feed in enumerate(feeds):
            logits.append(session.run(feed))
            if number % 20 == 0:
                print(f"{number / len(feeds):.3f}", file=sys.stderr, flush=True)
        found = np.concatenate(logits).astype("<f4")
        _answer({"shape": found.shape}, found.tobytes())
        return
    with benchmarking.pinned(run.threads) as cores:
        latency = benchmarking.measure_latency(openers[0], openers[-1], feeds, run.effort)
    ask = partial(benchmarking.fresh_process, runtime, Path(folders[0]), feeds[0], run.threads)
    memory_mb, start_ms = ask() if run.fresh else (None, None)
    tokens = run.lengths[0] if len(set(run.lengths)) == 1 else "data"
    conditions = benchmarking.conditions(run.runtime, run.threads, run.batch, tokens, 0, latency.noise)
    conditions["pinned_to_cores"] = cores
    if run.fresh:
        conditions["operators"] = [asdict(one) for one in runtime.audit(Path(folders[0]), feeds[0], run.threads)]
    timed = Timing(latency=latency, memory_mb=memory_mb, start_ms=start_ms, conditions=conditions)
    _answer(asdict(timed), b"")


def _feeds(run: RunRequest, ids: list[np.ndarray], types: list[np.ndarray]) -> Any:
    """Batches of the model's inputs, each padded to its longest row."""
    for start in range(0, len(ids), run.batch):
        rows = ids[start : start + run.batch]
        width = max(map(len, rows))
        shape = (len(rows), width)
        inputs, mask, kinds = (
            np.full(shape, run.padding, np.int64),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
        )
        for place, row in enumerate(rows):
            inputs[place, : len(row)], mask[place, : len(row)] = row, 1
            kinds[place, : len(row)] = types[start + place]
        yield {"input_ids": inputs, "attention_mask": mask, "token_type_ids": kinds}


def _answer(header: dict[str, Any], body: bytes) -> None:
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + body)


if __name__ == "__main__":
    main()
