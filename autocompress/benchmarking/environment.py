"""What gives a number its meaning: the machine, its runtime and the shapes that were run."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from autocompress.core import registry

PACKAGES = ("autocompress", "torch", "transformers", "tokenizers", "datasets", "numpy")


def conditions(
    runtime: str, threads: int, batch: int, tokens: int | str, seed: int, noise: str | None = None
) -> dict[str, object]:
    """What gives the numbers a meaning: runtime and version, CPU and its instruction sets, threads, shapes, seed, and
    what disturbed them."""
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
    """What a model's outputs depend on here: on another machine they may differ by rounding."""
    module = registry.load("runtimes", runtime)
    found: dict[str, object] = {"runtime_version": module.available(), "cpu": cpu_name(), "cpu_flags": cpu_flags()}
    gpu = module.accelerator() if hasattr(module, "accelerator") else None
    return found | ({"gpu": gpu} if gpu else {})


def versions() -> dict[str, str]:
    """Of what a training's outcome depends on."""
    found = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


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
