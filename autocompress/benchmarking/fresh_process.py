"""What a fresh process takes to run an artifact."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np


def size_mb(runtime: ModuleType, folder: Path) -> float:
    """What the runtime loads, in MB of 10⁶ bytes: the model files and their external data."""
    own = [path for name in runtime.MODEL_FILES for path in folder.glob(f"{name}*")]
    return sum(path.stat().st_size for path in own) / 1e6


def fresh_process(
    runtime: ModuleType, folder: Path, feed: Mapping[str, np.ndarray], threads: int
) -> tuple[float, float] | tuple[None, None]:
    """What opening and running an artifact adds to the peak resident memory of a fresh process (MB of 10⁶ bytes), and the
    milliseconds from there to its first logits: the file is in the system's cache, the runtime itself loaded.

    Null where the process cannot run it or cannot be asked (the memory comes from getrusage).
    """
    shape = map(str, feed["input_ids"].shape)
    command = [sys.executable, "-m", __name__, runtime.__name__, str(folder), *shape, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # our own module
    if done.returncode != 0:
        return None, None
    memory_mb, start_ms = map(float, done.stdout.split())
    return memory_mb, start_ms


def _main(runtime: str, folder: str, batch: str, tokens: str, threads: str) -> None:
    """Print the MB by which opening and running an artifact raises this process's peak memory, and its milliseconds."""
    from importlib import import_module

    module = import_module(runtime)
    module.load()  # its own code is not the model's memory

    ids = np.ones((int(batch), int(tokens)), np.int64)
    feed = {"input_ids": ids, "attention_mask": ids, "token_type_ids": np.zeros_like(ids)}
    before, start = _peak_bytes(), time.perf_counter()
    session = module.open_session(Path(folder), int(threads))
    session.run(feed)
    milliseconds = 1e3 * (time.perf_counter() - start)
    for _ in range(2):
        session.run(feed)
    print((_peak_bytes() - before) / 1e6, milliseconds)


def _peak_bytes() -> int:
    """Peak resident memory of this process. (Linux's getrusage would give the larger peak of the process that started it.)"""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    _main(*sys.argv[1:])
