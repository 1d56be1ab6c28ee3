"""What this machine supports, what is missing, and what would help. Nothing heavy is imported for it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autocompress.benchmarking.agent.fingerprint import fingerprint
from autocompress.benchmarking.noise import Moment
from autocompress.config import ArtifactSettings

EXTRAS = {  # what each extra brings: its modules, and what it is for
    "search": (("torch", "transformers", "optuna", "onnx", "onnxruntime", "datasets", "evaluate"), "to search"),
    "dashboard": (("optuna_dashboard",), "to look at studies in a browser"),
    "agent": (("starlette", "uvicorn", "httpx2"), "to measure on another machine, or to lend this one"),
    "report": (("jinja2", "plotly"), "to write a study's page"),
    "openvino": (("openvino",), "a second runtime, fast on Intel's CPUs"),
    "gp": (("scipy",), "the sampler gp"),
}
INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")  # any of them multiplies 8-bit numbers at full speed
BF16 = ("avx512_bf16",)
POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    good: bool  # nothing is to be done about it
    advice: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def examine() -> list[Finding]:
    """Processor, memory, disk, runtimes, what is installed, and whether others compute just now (half a second)."""
    machine = fingerprint()
    return [
        _python(),
        Finding(
            what="processor",
            found=f"{machine['cpu']}, {machine['cores']} core(s), {machine['architecture']}",
            good=True,
        ),
        *_instructions(machine["cpu_flags"]),
        _governor(machine["governor"]),
        Finding(what="memory", found=f"{machine['memory_mb'] / 1000:.1f} GB", good=True),
        _disk(),
        *_extras(),
        _runtimes(machine["runtimes"]),
        _quiet(),
    ]


def _python() -> Finding:
    return Finding(what="Python", found=f"{platform.python_version()} on {platform.system()}", good=True)


def _instructions(flags: list[str]) -> Iterator[Finding]:
    int8, bf16 = [flag for flag in INT8 if flag in flags], [flag for flag in BF16 if flag in flags]
    yield Finding(
        what="8-bit arithmetic",
        found=", ".join(int8) or "no instructions of its own",
        good=bool(int8),
        advice=None if int8 else "8-bit models gain less here, and may differ from those measured on newer processors",
    )
    yield Finding(
        what="bf16 arithmetic",
        found=", ".join(bf16) or "no instructions of its own",
        good=bool(bf16),
        advice=None if bf16 else "training takes about twice as long as with it",
    )


def _governor(name: str | None) -> Finding:
    slow = name in ("powersave", "conservative")
    advice = "measure with the governor performance: sudo cpupower frequency-set -g performance" if slow else None
    return Finding(
        what="clock", found=f"governor {name}" if name else "not told by the system", good=not slow, advice=advice
    )


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    most = ArtifactSettings().max_gb
    enough = free >= most
    advice = None if enough else f"lower artifacts.max_gb ({most:g} by default), or search on another disk"
    return Finding(what="disk, here", found=f"{free:.0f} GB free", good=enough, advice=advice)


def _extras() -> Iterator[Finding]:
    for name, (modules, purpose) in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        yield Finding(
            what=f"extra {name}",
            found=f"{', '.join(missing)} not installed" if missing else "installed",
            good=not missing,
            advice=f"{purpose}: pip install 'autocompress[{name}]'" if missing else None,
        )


def _runtimes(versions: dict[str, str]) -> Finding:
    found = ", ".join(f"{name} {version}" for name, version in versions.items()) or "none"
    advice = None if versions else "nothing can be measured here: pip install onnxruntime"
    return Finding(what="runtimes", found=found, good=bool(versions), advice=advice)


def _quiet() -> Finding:
    before = Moment.now()
    time.sleep(POLL_SECONDS)
    others = Moment.now().others_since(before)
    advice = "a latency that is taken now would be disturbed; let nothing else run meanwhile" if others else None
    found = f"others keep {others:.1f} core(s) busy" if others else "nobody else computes"
    return Finding(what="just now", found=found, good=not others, advice=advice)
