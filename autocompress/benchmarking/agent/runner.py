"""The process that does one run: `python -m autocompress.benchmarking.agent.runner < run`.

Each run is a process of its own, with limits on memory and time: whatever a model does to its runtime, the agent survives.
The agent itself computes nothing, so that a measurement has the device for itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from autocompress import benchmarking
from autocompress.benchmarking.agent.run_request import RunRequest
from autocompress.benchmarking.inputs import unit_outputs
from autocompress.core.measurement import Timing
from autocompress.core.parent_watchdog import exit_with_parent
from autocompress.runtimes import RUNTIMES, Runtime

PROGRESS_BATCHES = 20


def main() -> None:
    """Read a run from stdin, do it and write its result to stdout.

    stderr gets the progress, and the traceback of a failure; its last line is the reason that the host sees.
    """
    exit_with_parent(os.getppid())
    header = sys.stdin.buffer.readline()
    folders = [Path(folder) for folder in json.loads(sys.stdin.buffer.readline())]
    run = RunRequest.model_validate_json(header)
    runtime = RUNTIMES.load(run.runtime)
    feeds = list(run.make_feeds(sys.stdin.buffer.read()))
    if run.kind == "logits":
        outputs = _compute_outputs(runtime, folders[0], feeds, run.threads)
        _write_result({"shape": outputs.shape}, outputs.tobytes())
    else:
        _write_result(asdict(_measure_timing(runtime, folders, feeds, run)), b"")


def _compute_outputs(
    runtime: Runtime, folder: Path, feeds: Sequence[Mapping[str, np.ndarray]], threads: int
) -> np.ndarray:
    """Return the outputs (units, width), float32; print the progress to stderr."""
    session, outputs = runtime.open_session(folder, threads), []
    for number, feed in enumerate(feeds):
        outputs.append(unit_outputs(session.run(feed), feed))
        if number % PROGRESS_BATCHES == 0:
            print(f"{number / len(feeds):.3f}", file=sys.stderr, flush=True)
    return np.concatenate(outputs).astype("<f4")


def _measure_timing(
    runtime: Runtime, folders: Sequence[Path], feeds: Sequence[Mapping[str, np.ndarray]], run: RunRequest
) -> Timing:
    """Time the first model beside the last one (itself, where it is the only one)."""
    openers = [partial(runtime.open_session, folder, run.threads) for folder in folders]
    with benchmarking.pin_to_cores(run.threads) as pinning:
        latency = benchmarking.measure_latency(openers[0], openers[-1], feeds, run.effort, move=pinning.move)
    memory_mb = start_ms = None
    if run.fresh:
        memory_mb, start_ms = benchmarking.measure_fresh_process(run.runtime, folders[0], feeds[0], run.threads)
    tokens = run.lengths[0] if len(set(run.lengths)) == 1 else "data"
    conditions = benchmarking.collect_conditions(run.runtime, run.threads, run.batch, tokens, 0, latency.noise)
    conditions["pinned_to_cores"] = pinning.cores
    if run.fresh:
        operators = runtime.audit(folders[0], feeds[0], run.threads)
        conditions["operators"] = [asdict(operator) for operator in operators]
    return Timing(latency=latency, memory_mb=memory_mb, start_ms=start_ms, conditions=conditions)


def _write_result(header: Mapping[str, object], body: bytes) -> None:
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + body)


if __name__ == "__main__":
    main()
