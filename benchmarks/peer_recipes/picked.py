"""Our model: what `autocompress pick --max-drop 0.01 --prefer latency_ms` names in the study, as `export` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peer_recipes import Built, Peer
from benchmarks.peer_recipes._transformers import copy_files
from benchmarks.peers_cases import Case


def build(case: Case, folder: Path) -> Built:
    """Copy the exported model. Its seconds are the study's, without fine-tuning the teacher. ValueError where none fits."""
    if case.picked is None:
        raise ValueError("no trial is within 1 point of the teacher")
    copy_files(case.picked_model, folder)
    return Built(notes=case.picked, seconds=case.search_seconds)


def open_model(case: Case, folder: Path, threads: int) -> Any:
    """Open the model in its runtime."""
    from autocompress.runtimes import load_runtime_of

    return load_runtime_of(folder).open_session(folder, threads)


PEER = Peer(
    title="autocompress, as picked",
    kind="picked",
    packages=("autocompress", "onnxruntime"),
    build=build,
    open_model=open_model,
    model_files=("model.onnx*",),
)
