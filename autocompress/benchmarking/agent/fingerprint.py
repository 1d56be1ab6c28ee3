"""The agent's description of its device."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from autocompress import __version__, benchmarking
from autocompress.core.json_types import Json
from autocompress.runtimes import RUNTIMES, portable_runtimes


def fingerprint() -> Json:
    """Return the properties of this device: CPU, memory, runtimes; no host name and no user name."""
    runtimes = {name: RUNTIMES.load(name).available() for name in portable_runtimes()}
    return {
        "agent": __version__,
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "cpu": benchmarking.cpu_name(),
        "cpu_flags": benchmarking.cpu_flags(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "governor": _read_governor(),
        "memory_mb": round(psutil.virtual_memory().total / 1e6),
        "runtimes": {name: version for name, version in runtimes.items() if version},
    }


def _read_governor() -> str | None:
    """Return the frequency governor of the first core, where the system exposes it."""
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
