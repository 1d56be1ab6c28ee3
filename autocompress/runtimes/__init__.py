"""One file per way to run an artifact.

A runtime file offers `available() -> str | None` (its version, null where it cannot run here), `supported(run)` (the values
of each decision that it really runs here, or wherever `run` runs a model), `open_session(folder, threads) -> Session`,
`audit(folder, feed, threads)` (which operators ran, in which precision and by what), `load()` (imports its package),
`MODEL_FILES` (what it loads; size_mb counts these and their external data) and `TARGET_FORMAT` (how quantization is encoded
for it). Where it does not run on the CPU, `accelerator()` names what it runs on. A PyTorch program is native code, and no
agent takes it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from autocompress.core import registry
from autocompress.core.measurement import Operator

USUAL = "onnxruntime"  # of artifacts that do not say


class Session(Protocol):
    """An artifact, opened as a plain user of the runtime would open it."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, labels) of input_ids, attention_mask (and token_type_ids), each (batch, sequence) int64."""


def data_only() -> list[str]:
    """Names of the runtimes whose models hold no code: those that an agent runs."""
    return [name for name in registry.names("runtimes") if not registry.load("runtimes", name).TARGET_FORMAT.program]


def summed(calls: Iterable[tuple[tuple[str, str, str, bool], float]], passes: int) -> list[Operator]:
    """Calls (name, precision, where, fallback; seconds) in some passes, by kind; those that took longest come first."""
    counts: Counter[tuple[str, str, str, bool]] = Counter()
    seconds: defaultdict[tuple[str, str, str, bool], float] = defaultdict(float)
    for kind, took in calls:
        counts[kind] += 1
        seconds[kind] += took
    total = sum(seconds.values()) or 1.0
    return [
        Operator(
            name=kind[0], precision=kind[1], where=kind[2], fallback=kind[3], count=round(counts[kind] / passes),
            share=round(took / total, 4),
        )
        for kind, took in sorted(seconds.items(), key=lambda item: (-item[1], item[0]))
    ]  # fmt: skip


def name_of(artifact: Path) -> str:
    """Name of the runtime that an artifact was made for."""
    path = artifact / "recipe.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(told.get("runtime", USUAL))


def runtime_of(artifact: Path) -> ModuleType:
    """The runtime that an artifact was made for."""
    return registry.load("runtimes", name_of(artifact))
