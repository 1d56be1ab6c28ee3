"""Latency, size and memory of exported folders on this machine: the content of `measure`. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autocompress import benchmarking
from autocompress.benchmarking.backends import Notify, open_backend
from autocompress.config import Device
from autocompress.core.errors import UsageError
from autocompress.runtimes import load_runtime_of, read_runtime_name

EFFORT = benchmarking.THOROUGH_TIMING
USUAL = {"threads": 1, "batch": 1, "tokens": 32}  # where neither an option nor the folder says


@dataclass(frozen=True, kw_only=True)
class FolderMeasurement:
    """What was measured here. What needs a reference is null without one."""

    latency_ms: float
    latency_p95_ms: float
    size_mb: float
    memory_mb: float | None
    cold_ms: float | None
    throughput: float | None  # texts per second
    start_ms: float | None
    reference_latency_ms: float | None = None
    reference_size_mb: float | None = None
    speedup: float | None = None  # reference ÷ this, in alternating blocks
    speedup_interval: tuple[float, float] | None = None
    compression: float | None = None
    conditions: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def measure_folder(
    folder: Path,
    reference: Path | None = None,
    threads: int | None = None,
    batch: int | None = None,
    tokens: int | None = None,
    seed: int = 0,
    notify: Notify = lambda words: None,
    device: Device | None = None,
) -> FolderMeasurement:
    """Time a model in blocks, in a default session, beside a reference where there is one; here, or on another device.

    What is not given is as when the model was measured first (`measurement.json`), else 1 thread, batch 1, 32 tokens.
    """
    for place in (folder, *([reference] if reference else [])):
        _check(place)
    asked = {"threads": threads, "batch": batch, "tokens": tokens}
    held = {**USUAL, **_held(folder), **{name: value for name, value in asked.items() if value is not None}}
    feeds = benchmarking.latency_feeds(_vocabulary(folder, reference), held["batch"], held["tokens"], (), seed)
    update = {**held, "runtime": read_runtime_name(folder)}
    target = open_backend((device or Device()).model_copy(update=update), "measure --device", seed=seed, notify=notify)
    timed = target.time(folder, reference, feeds, EFFORT, fresh=True)
    latency, size = timed.latency, benchmarking.size_mb(load_runtime_of(folder), folder)
    found = FolderMeasurement(
        latency_ms=latency.p50_ms,
        latency_p95_ms=latency.p95_ms,
        size_mb=size,
        memory_mb=timed.memory_mb,
        cold_ms=latency.cold_ms,
        throughput=latency.throughput,
        start_ms=timed.start_ms,
        conditions=timed.conditions,
    )
    if reference is None:
        found.conditions.pop("blocks_alternate_with")
        return found
    found.conditions["blocks_alternate_with"] = reference.resolve().name
    size_beside = benchmarking.size_mb(load_runtime_of(reference), reference)
    interval = (latency.speedup_interval.low, latency.speedup_interval.high)
    return FolderMeasurement(
        **{
            **{name: getattr(found, name) for name in found.__dataclass_fields__},
            "reference_latency_ms": latency.reference_p50_ms,
            "reference_size_mb": size_beside,
            "speedup": latency.speedup,
            "speedup_interval": interval,
            "compression": size_beside / size,
        }
    )


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    for name in (*load_runtime_of(folder).MODEL_FILES, "config.json"):
        if not (folder / name).is_file():
            raise UsageError(
                f"{folder}: there is no {name}; name a folder that export wrote, not in the transformers form"
            )


def _held(folder: Path) -> dict[str, int]:
    """Threads, batch and tokens of the first measurement; texts as long as the data's are not there any more."""
    path = folder / "measurement.json"
    if not path.is_file():
        return {}
    conditions = json.loads(path.read_text(encoding="utf-8"))["measurement"]["conditions"]
    return {name: conditions[name] for name in USUAL if isinstance(conditions.get(name), int)}


def _vocabulary(*folders: Path | None) -> int:
    """The smallest vocabulary: every model knows these ids."""
    texts = [(folder / "config.json").read_text(encoding="utf-8") for folder in folders if folder]
    return min(int(json.loads(text)["vocab_size"]) for text in texts)
