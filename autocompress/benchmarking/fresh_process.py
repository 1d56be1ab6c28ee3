"""Size of an artifact, and the memory and time that a fresh process needs to run it."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autocompress.runtimes import RUNTIMES, Runtime

NOT_NEEDED = ("recipe.json", "check.npz")  # for inference: how the model was made, and what `verify` compares
log = logging.getLogger(__name__)


def size_mb(runtime: Runtime, folder: Path) -> float:
    """Return the size of the files that the runtime loads (models and their external data), in MB of 10⁶ bytes."""
    files = [path for name in runtime.model_files for path in folder.glob(f"{name}*")]
    return sum(path.stat().st_size for path in files) / 1e6


def download_mb(folder: Path) -> float:
    """Return the size of all files of an artifact that inference needs, the tokenizer included, in MB of 10⁶ bytes."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_NEEDED]
    return sum(path.stat().st_size for path in files) / 1e6


def measure_fresh_process(
    runtime: str, folder: Path, feed: Mapping[str, np.ndarray], threads: int
) -> tuple[float, float] | tuple[None, None]:
    """Return the peak memory (MB of 10⁶ bytes) that opening and running an artifact adds to a fresh process, and the
    milliseconds from opening it to its first logits. `runtime` is the name of the artifact's runtime.

    The file is in the system's cache and the runtime is loaded before the clock starts. Null where the process fails; the
    log then has its stderr.
    """
    shape = map(str, feed["input_ids"].shape)
    command = [sys.executable, "-m", __name__, runtime, str(folder), *shape, str(threads)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        log.warning(
            "the fresh process that opens the artifact ended with exit code %d; its stderr:\n%s",
            process.returncode,
            process.stderr,
        )
        return None, None
    memory_mb, start_ms = map(float, process.stdout.split())
    return memory_mb, start_ms


def _main(runtime: str, folder: str, batch: str, tokens: str, threads: str) -> None:
    """Open and run an artifact; print the MB by which that raises this process's peak memory, and its milliseconds."""
    used = RUNTIMES.load(runtime)
    used.load_package()  # the runtime's own code is not the model's memory

    ids = np.ones((int(batch), int(tokens)), np.int64)
    feed = {"input_ids": ids, "attention_mask": ids, "token_type_ids": np.zeros_like(ids)}
    before, start = _peak_bytes(), time.perf_counter()
    session = used.open_session(Path(folder), int(threads))
    session.run(feed)
    milliseconds = 1e3 * (time.perf_counter() - start)
    for _ in range(2):
        session.run(feed)
    print((_peak_bytes() - before) / 1e6, milliseconds)


def _peak_bytes() -> int:
    """Return the peak resident memory of this process.

    Linux's getrusage is no use here: it returns the peak of the parent process where that is larger.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    _main(*sys.argv[1:])
