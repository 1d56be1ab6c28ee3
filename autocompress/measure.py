"""Measure an artifact: its logits over a whole split, latency against the reference, size, memory. Never the torch module."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np

from autocompress.measurement import Interval, Latency
from autocompress.runtimes import Session

Feeds = Sequence[Mapping[str, np.ndarray]]  # batches of a model's inputs
BLOCK_CALLS = 60  # a block is warm after its first tenth of calls; call-by-call alternation would measure cold caches
WARM_UP = 10


@dataclass(frozen=True)
class Effort:
    """How long to measure: pairs of blocks, and when the 95 % interval of the ratio is narrow enough to stop."""

    fewest: int = 5
    most: int = 12
    precision: float = 0.03  # half-width, relative
    seconds: float = 15.0
    block_seconds: float = 0.3  # of slow models: fast ones take fewer


THOROUGH = Effort()
QUICK = Effort(fewest=3, most=6, precision=0.06, seconds=5.0, block_seconds=0.1)


def measure_latency(session: Session, reference: Session, feeds: Feeds, effort: Effort = Effort()) -> Latency:
    """Time a session in blocks that alternate with blocks of the reference, so that noise hits both.

    Each call takes the next of `feeds`. A block is 60 calls (fewer for slow models), its first ones dropped; the speedup
    is the geometric mean over pairs of blocks of the ratio of their medians, its interval Student's t on the logarithms.
    """
    start = time.perf_counter()
    calls, calls_reference = (_calls(s, feeds, effort.block_seconds) for s in (session, reference))
    blocks: list[np.ndarray] = []
    blocks_reference: list[np.ndarray] = []
    ratios: list[float] = []
    while len(ratios) < effort.most:
        blocks_reference.append(_block(reference, feeds, calls_reference))
        blocks.append(_block(session, feeds, calls))
        ratios.append(float(np.log(np.median(blocks_reference[-1]) / np.median(blocks[-1]))))
        enough = len(ratios) >= effort.fewest and _half_width(ratios) <= effort.precision
        if enough or (len(ratios) >= 2 and time.perf_counter() - start > effort.seconds):
            break
    middle, half = float(np.mean(ratios)), _half_width(ratios)
    together = np.concatenate(blocks) * 1e3
    return Latency(
        p50_ms=float(np.median([np.median(block) for block in blocks])) * 1e3,
        p95_ms=float(np.percentile(together, 95)),
        reference_p50_ms=float(np.median([np.median(block) for block in blocks_reference])) * 1e3,
        speedup=float(np.exp(middle)),
        speedup_interval=Interval(low=float(np.exp(middle - half)), high=float(np.exp(middle + half))),
        blocks=len(ratios),
    )


def latency_feeds(
    vocabulary: int, batch: int, tokens: int | str, lengths: Sequence[int], seed: int
) -> list[dict[str, np.ndarray]]:
    """Inputs to time: one of a fixed shape, or (`tokens: data`) 50 whose lengths are spread as the data's are."""
    rng = np.random.default_rng(seed)
    if tokens == "data":
        spread = np.quantile(np.asarray(lengths), (np.arange(50) + 0.5) / 50, method="nearest")
        sizes = [int(size) for size in rng.permutation(spread)]
    else:
        sizes = [int(tokens)]
    feeds = []
    for size in sizes:
        ids = rng.integers(0, vocabulary, (batch, size))
        feeds.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})
    return feeds


def logits_of(
    run: Callable[[Sequence[dict[str, np.ndarray]]], np.ndarray],
    batch_of: Callable[[np.ndarray], dict[str, np.ndarray]],
    lengths: Sequence[int],
    batch: int,
) -> np.ndarray:
    """Logits (rows, labels) of a whole split, in batches of the device's size, rows of like length together.

    `run` gives the logits of all batches, one after another. At batch 1 nothing is padded. The batch matters: dynamic
    quantization takes one scale for all that is in it.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    found = run([batch_of(order[start : start + batch]) for start in range(0, len(order), batch)])
    logits = np.empty(found.shape, np.float32)
    logits[order] = found
    return logits


def size_mb(runtime: ModuleType, folder: Path) -> float:
    """What the runtime loads, in MB of 10⁶ bytes: the model files and their external data."""
    own = [path for name in runtime.MODEL_FILES for path in folder.glob(f"{name}*")]
    return sum(path.stat().st_size for path in own) / 1e6


def peak_memory_mb(runtime: ModuleType, folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> float | None:
    """Peak resident memory (MB of 10⁶ bytes) that opening and running the artifact adds to a fresh process.

    Null where the process cannot be asked (the figure comes from getrusage).
    """
    shape = feed["input_ids"].shape
    command = [
        sys.executable,
        "-m",
        "autocompress.measure",
        runtime.__name__,
        str(folder),
        *map(str, shape),
        str(threads),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # our own module
    return float(done.stdout) if done.returncode == 0 else None


def conditions(runtime: str, threads: int, batch: int, tokens: int | str, seed: int) -> dict[str, object]:
    """What gives the numbers a meaning: runtime and version, CPU and its instruction sets, threads, shapes, seed."""
    return {
        "runtime": runtime,
        **machine(runtime),
        "threads": threads,
        "batch": batch,
        "tokens": tokens,
        "seed": seed,
        "python": platform.python_version(),
        "blocks_alternate_with": "fp32 teacher artifact, default session",
    }


def machine(runtime: str) -> dict[str, object]:
    """What a model's outputs depend on here: on another machine they may differ by rounding."""
    return {"runtime_version": metadata.version(runtime), "cpu": cpu_name(), "cpu_flags": cpu_flags()}


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """Instruction sets that decide which integer kernels run."""
    present = (_cpuinfo("flags") or _cpuinfo("Features") or "").split()
    telling = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
    return [flag for flag in telling if flag in present]


def _cpuinfo(key: str) -> str | None:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), None)


def _calls(session: Session, feeds: Feeds, seconds: float) -> int:
    """Calls in a block: 60, or what fits into so many seconds, but at least 12."""
    for feed in feeds[:3]:
        session.run(feed)
    start = time.perf_counter()
    for _ in range(3):
        session.run(feeds[0])
    once = (time.perf_counter() - start) / 3
    return int(np.clip(seconds / once, 12, BLOCK_CALLS))


def _block(session: Session, feeds: Feeds, calls: int) -> np.ndarray:
    """Seconds of each call of one block, the warm-up dropped."""
    seconds = np.empty(calls)
    for call in range(calls):
        feed = feeds[call % len(feeds)]
        start = time.perf_counter()
        session.run(feed)
        seconds[call] = time.perf_counter() - start
    return seconds[min(WARM_UP, calls // 6) :]


def _half_width(values: Sequence[float]) -> float:
    """Half-width of the 95 % interval of a mean, by Student's t (scipy-free: the few quantiles that can occur)."""
    if len(values) < 2:
        return float("inf")
    t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}.get(len(values), 2.2)
    return float(t * np.std(values, ddof=1) / np.sqrt(len(values)))


def _main(runtime: str, folder: str, batch: str, tokens: str, threads: str) -> None:
    """Print the MB by which opening and running an artifact raises this process's peak memory."""
    from importlib import import_module

    module = import_module(runtime)
    import onnxruntime  # noqa: F401  # its own code is not the model's memory

    before = _peak_bytes()
    session = module.open_session(Path(folder), int(threads))
    ids = np.ones((int(batch), int(tokens)), np.int64)
    for _ in range(3):
        session.run({"input_ids": ids, "attention_mask": ids, "token_type_ids": np.zeros_like(ids)})
    print((_peak_bytes() - before) / 1e6)


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
