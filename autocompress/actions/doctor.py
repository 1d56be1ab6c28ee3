"""Examine this machine: what it supports, what is missing and what would help. Imports nothing heavy."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from autocompress.benchmarking.agent.fingerprint import fingerprint
from autocompress.benchmarking.noise import Moment
from autocompress.config import ArtifactSettings

EXTRAS = {  # name of an extra -> the modules it installs, and what they are for
    "search": (("torch", "transformers", "optuna", "onnx", "onnxruntime", "datasets", "evaluate"), "run searches"),
    "dashboard": (("optuna_dashboard",), "look at studies in a browser"),
    "agent": (("starlette", "uvicorn", "httpx2"), "measure on another machine, or let others measure on this one"),
    "report": (("jinja2", "plotly"), "write the HTML report of a study"),
    "openvino": (("openvino",), "deploy to OpenVINO, which is fast on Intel CPUs"),
    "gp": (("scipy",), "use the sampler gp"),
}
INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")  # each gives full-speed 8-bit products
BF16_FLAGS = ("avx512_bf16",)
SLOW_GOVERNORS = ("powersave", "conservative")
LOAD_SECONDS = 0.5  # how long the load of other processes is watched


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The state of one property of the machine."""

    what: str
    found: str
    good: bool  # nothing needs to be done
    advice: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return asdict(self)


def examine_machine() -> list[Finding]:
    """Check processor, memory, disk, installed extras, runtimes, and the load of other processes (half a second)."""
    machine = fingerprint()
    return [
        Finding(what="Python", found=f"{platform.python_version()} on {platform.system()}", good=True),
        Finding(
            what="processor",
            found=f"{machine['cpu']}, {machine['cores']} core(s), {machine['architecture']}",
            good=True,
        ),
        *_check_instructions(machine["cpu_flags"]),
        _check_governor(machine["governor"]),
        Finding(what="memory", found=f"{machine['memory_mb'] / 1000:.1f} GB", good=True),
        _check_disk(),
        *_check_extras(),
        _check_runtimes(machine["runtimes"]),
        _check_load(),
    ]


def _check_instructions(flags: list[str]) -> Iterator[Finding]:
    int8, bf16 = [flag for flag in INT8_FLAGS if flag in flags], [flag for flag in BF16_FLAGS if flag in flags]
    yield Finding(
        what="8-bit arithmetic",
        found=", ".join(int8) or "no special instructions",
        good=bool(int8),
        advice=None
        if int8
        else "8-bit models gain less speed here, and may round differently than on newer processors",
    )
    yield Finding(
        what="bf16 arithmetic",
        found=", ".join(bf16) or "no special instructions",
        good=bool(bf16),
        advice=None if bf16 else "training takes about twice as long as on a processor with bf16",
    )


def _check_governor(name: str | None) -> Finding:
    slow = name in SLOW_GOVERNORS
    advice = "before measuring, set the governor: sudo cpupower frequency-set -g performance" if slow else None
    return Finding(
        what="CPU governor",
        found=name or "not reported by the system",
        good=not slow,
        advice=advice,
    )


def _check_disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    needed = ArtifactSettings().max_gb
    enough = free >= needed
    advice = None if enough else f"lower artifacts.max_gb ({needed:g} by default), or search on another disk"
    return Finding(what="disk space", found=f"{free:.0f} GB free in this folder", good=enough, advice=advice)


def _check_extras() -> Iterator[Finding]:
    for name, (modules, purpose) in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        yield Finding(
            what=f"extra {name}",
            found=f"{', '.join(missing)} not installed" if missing else "installed",
            good=not missing,
            advice=f"to {purpose}: pip install 'autocompress[{name}]'" if missing else None,
        )


def _check_runtimes(versions: dict[str, str]) -> Finding:
    names = ", ".join(f"{name} {version}" for name, version in versions.items()) or "none"
    advice = None if versions else "to measure models here: pip install onnxruntime"
    return Finding(what="runtimes", found=names, good=bool(versions), advice=advice)


def _check_load() -> Finding:
    before = Moment.now()
    time.sleep(LOAD_SECONDS)
    busy_cores = Moment.now().others_since(before)
    advice = "latencies measured now would be too high; stop other programs first" if busy_cores else None
    state = f"other processes keep {busy_cores:.1f} core(s) busy" if busy_cores else "no other process is busy"
    return Finding(what="current load", found=state, good=not busy_cores, advice=advice)
