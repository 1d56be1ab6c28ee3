"""One file per way to run an artifact.

A runtime file defines:
  `available() -> str | None`, its version, None where it cannot run on this machine;
  `supported(run)`, the values of each decision that it runs: on this machine, or on the device where `run` runs a model;
  `open_session(folder, threads) -> Session`;
  `audit(folder, feed, threads)`, the operators that ran, with their precision and the provider of each;
  `load()`, which imports its package;
  `MODEL_FILES`, the files that it loads; `size_mb` counts these and their external data;
  `TARGET_FORMAT`, how quantization is encoded for it;
  `accelerator()`, the name of the processor, where that is not the CPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from autocompress.core import registry

DEFAULT_RUNTIME = "onnxruntime"  # of artifacts whose recipe.json names no runtime


class Session(Protocol):
    """An open artifact, with the options that a plain user of the runtime would set."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return logits (batch, labels) of input_ids, attention_mask (and token_type_ids), each (batch, sequence) int64."""


def portable_runtimes() -> list[str]:
    """Return the names of the runtimes whose models contain no native code, so that an agent may run them."""
    return [name for name in registry.names("runtimes") if not registry.load("runtimes", name).TARGET_FORMAT.program]


def read_runtime_name(artifact: Path) -> str:
    """Return the name of the runtime that an artifact is for."""
    path = artifact / "recipe.json"
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(facts.get("runtime", DEFAULT_RUNTIME))


def load_runtime_of(artifact: Path) -> ModuleType:
    """Load the runtime that an artifact is for."""
    return registry.load("runtimes", read_runtime_name(artifact))
