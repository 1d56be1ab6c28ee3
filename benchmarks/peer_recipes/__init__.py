"""One file per peer of the peers benchmark: it exports `PEER`, and imports its packages only inside its functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from benchmarks.peers_cases import Case
from benchmarks.peers_environments import PROJECT

Kind = Literal["reference", "picked", "training-free", "trained", "no transformer"]
REFERENCE, PICKED = "teacher", "picked"  # names of the fp32 teacher and of our model
NAMES = (
    REFERENCE,
    PICKED,
    "onnxruntime_fp32",
    "onnxruntime_int8",
    "onnxruntime_optimizer_int8",
    "openvino_bf16",
    "nncf_int8",
    "nncf_accuracy_control",
    "olive",
    "neural_compressor",
    "torch_pruning",
    "torch_pruning_int8",
    "optuna_loop",
    "model2vec",
    "tfidf",
)


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build has to say beyond its files."""

    notes: str | None = None  # what was chosen
    earlier_seconds: float = 0.0  # of the builds of other peers that it continues
    seconds: float | None = None  # where the build only copies what took this long


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A way to make a small or fast model from the teacher, its rows, or both."""

    title: str  # in tables
    kind: Kind
    packages: tuple[str, ...]  # whose versions the row names
    build: Callable[[Case, Path], Built | None]  # writes the model into a folder
    # opens the model with so many threads: a session that takes token ids, or a function from a text to its label
    open_model: Callable[[Case, Path, int], Any]
    model_files: tuple[str, ...]  # patterns of the files that the runtime loads
    environment: str = PROJECT


def load_peer(name: str) -> Peer:
    """Return the peer of that name."""
    peer: Peer = import_module(f"{__name__}.{name}").PEER
    return peer


def load_kinds() -> dict[str, Kind]:
    """Return the kind of every peer."""
    return {name: load_peer(name).kind for name in NAMES}
