"""One file per way to run an artifact: it exports `RUNTIME`, and imports neither torch nor its runtime's package."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.core.recipe import Scalar
from autocompress.core.registry import Registry
from autocompress.formats.target_format import TargetFormat
from autocompress.runtimes._probing import RunModel

DEFAULT_RUNTIME = "onnxruntime"  # of artifacts whose recipe.json names no runtime
SupportedValues = Mapping[str, tuple[Scalar, ...]]  # decision -> the values that run


class Session(Protocol):
    """An open artifact, with the options that a plain user of the runtime would set."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return logits (batch, labels) of input_ids, attention_mask (and token_type_ids), each (batch, sequence) int64."""


@dataclass(frozen=True)
class RuntimeSnippet:
    """The lines of a model card's example that depend on the runtime; `{threads}` and `{inputs}` are filled in."""

    imports: str
    opening: str  # opens the model
    call: str  # gives its logits


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A way to run artifacts."""

    package: str  # the name of its package for pip
    target_format: TargetFormat  # how quantization is encoded for it
    model_files: tuple[str, ...]  # the files that it loads; `size_mb` counts these and their external data
    available: Callable[[], str | None]  # returns its version; null where it cannot run on this machine
    probe: Callable[[RunModel | None], SupportedValues]  # as `supported`
    open_session: Callable[[Path, int], Session]  # of an artifact, with so many threads
    # of an artifact, its inputs and a number of threads: the operators that ran, with their precision and provider
    audit: Callable[[Path, Mapping[str, np.ndarray], int], list[Operator]]
    load_package: Callable[[], None]  # imports its package
    snippet: RuntimeSnippet  # how a user of an exported model runs it
    accelerator: Callable[[], str | None] = lambda: None  # returns the processor's name, where that is not the CPU

    def supported(self, run: RunModel | None = None) -> SupportedValues:
        """Return the values of each decision that it runs: on this machine, or on the device where `run` runs a model."""
        return self.probe(run)


RUNTIMES = Registry("runtimes", "RUNTIME", Runtime)


def portable_runtimes() -> list[str]:
    """Return the names of the runtimes whose models contain no native code, so that an agent may run them."""
    return [name for name, runtime in RUNTIMES.entries().items() if not runtime.target_format.program]


def read_runtime_name(artifact: Path) -> str:
    """Return the name of the runtime that an artifact is for."""
    path = artifact / "recipe.json"
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(facts.get("runtime", DEFAULT_RUNTIME))


def load_runtime_of(artifact: Path) -> Runtime:
    """Load the runtime that an artifact is for."""
    return RUNTIMES.load(read_runtime_name(artifact))
