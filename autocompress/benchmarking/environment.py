"""Collect the conditions of a measurement: machine, runtime, shapes."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from autocompress.runtimes import RUNTIMES

PACKAGES = ("autocompress", "torch", "transformers", "tokenizers", "datasets", "numpy")
KERNEL_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")


def collect_conditions(
    runtime: str, threads: int, batch: int, tokens: int | str, seed: int, noise: str | None = None
) -> dict[str, object]:
    """Return the conditions of a measurement: runtime and version, CPU and instruction sets, threads, shapes, seed, noise."""
    return {
        "runtime": runtime,
        **machine(runtime),
        "threads": threads,
        "batch": batch,
        "tokens": tokens,
        "seed": seed,
        "python": platform.python_version(),
        "blocks_alternate_with": "fp32 teacher artifact, default session",
        **({"noise": noise} if noise else {}),
    }


def machine(runtime: str) -> dict[str, object]:
    """Return the facts of this machine that a model's outputs depend on: another machine may round differently."""
    used = RUNTIMES.load(runtime)
    facts: dict[str, object] = {"runtime_version": used.available(), "cpu": cpu_name(), "cpu_flags": cpu_flags()}
    gpu = used.accelerator()
    return facts | ({"gpu": gpu} if gpu else {})


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that the result of a training depends on."""
    installed = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed


def cpu_name() -> str:
    """Return the name that the system gives the processor."""
    return _read_cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """Return the instruction sets of this CPU that decide which integer kernels run."""
    present = (_read_cpuinfo("flags") or _read_cpuinfo("Features") or "").split()
    return [flag for flag in KERNEL_FLAGS if flag in present]


def _read_cpuinfo(key: str) -> str | None:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), None)
