"""Measure latency, size and memory of exported folders, on this machine or another device. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autocompress import benchmarking
from autocompress.benchmarking.backends import Notify, open_backend
from autocompress.config import Device
from autocompress.core.errors import UsageError
from autocompress.core.json_types import Json
from autocompress.runtimes import load_runtime_of, read_runtime_name

TIMING = benchmarking.THOROUGH_TIMING
DEFAULTS = {"threads": 1, "batch": 1, "tokens": 32}  # where neither an option nor the folder names a value


@dataclass(frozen=True, kw_only=True)
class FolderMeasurement:
    """The measurement of an exported folder; what needs a reference is null without one."""

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
    conditions: Json

    def as_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def measure_folder(
    folder: Path,
    reference: Path | None = None,
    threads: int | None = None,
    batch: int | None = None,
    tokens: int | None = None,
    seed: int = 0,
    notify: Notify = lambda text: None,
    device: Device | None = None,
) -> FolderMeasurement:
    """Time a model in blocks, in a default session, on this machine or on another device.

    Blocks alternate with blocks of the reference where one is named. `threads`, `batch` and `tokens` default to the
    values of the first measurement (`measurement.json`), else to 1 thread, batch 1 and 32 tokens.
    """
    for path in (folder, *([reference] if reference else [])):
        _check_folder(path)
    options = {"threads": threads, "batch": batch, "tokens": tokens}
    chosen = {name: value for name, value in options.items() if value is not None}
    conditions = {**DEFAULTS, **_first_conditions(folder), **chosen}
    vocabulary = _smallest_vocabulary(folder, reference)
    feeds = benchmarking.latency_feeds(vocabulary, conditions["batch"], conditions["tokens"], (), seed)
    settings = (device or Device()).model_copy(update={**conditions, "runtime": read_runtime_name(folder)})
    backend = open_backend(settings, "measure --device", seed=seed, notify=notify)
    timed = backend.time(folder, reference, feeds, TIMING, fresh=True)
    latency, size = timed.latency, benchmarking.size_mb(load_runtime_of(folder), folder)
    measured = FolderMeasurement(
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
        measured.conditions.pop("blocks_alternate_with")
        return measured
    measured.conditions["blocks_alternate_with"] = reference.resolve().name
    reference_size = benchmarking.size_mb(load_runtime_of(reference), reference)
    return replace(
        measured,
        reference_latency_ms=latency.reference_p50_ms,
        reference_size_mb=reference_size,
        speedup=latency.speedup,
        speedup_interval=(latency.speedup_interval.low, latency.speedup_interval.high),
        compression=reference_size / size,
    )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    for name in (*load_runtime_of(folder).model_files, "config.json"):
        if not (folder / name).is_file():
            raise UsageError(
                f"{folder}: no file {name}; name a folder that `autocompress export` wrote with --form onnx"
            )


def _first_conditions(folder: Path) -> dict[str, int]:
    """Return threads, batch and tokens of the first measurement.

    Tokens are left out where the first measurement used the lengths of the data, which is not at hand here.
    """
    path = folder / "measurement.json"
    if not path.is_file():
        return {}
    conditions = json.loads(path.read_text(encoding="utf-8"))["measurement"]["conditions"]
    return {name: conditions[name] for name in DEFAULTS if isinstance(conditions.get(name), int)}


def _smallest_vocabulary(*folders: Path | None) -> int:
    """Return the smallest vocabulary size of the models: token ids below it are valid in all of them."""
    texts = [(folder / "config.json").read_text(encoding="utf-8") for folder in folders if folder]
    return min(int(json.loads(text)["vocab_size"]) for text in texts)
