"""The model of Torch-Pruning in onnxruntime's dynamic int8: two tools, as a user would join them by hand."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peer_recipes import Built, Peer
from benchmarks.peer_recipes._transformers import open_onnx, quantize_dynamically
from benchmarks.peers_cases import Case

SOURCE = "torch_pruning"


def build(case: Case, folder: Path) -> Built:
    """Quantize the model that `torch_pruning` built. ValueError where there is none."""
    source = folder.parent / SOURCE
    if not (source / "built.json").is_file():
        raise ValueError(f"{SOURCE} has no model; it is built first")
    built = json.loads((source / "built.json").read_text(encoding="utf-8"))
    quantize_dynamically(source / "model.onnx", folder / "model.onnx")
    return Built(notes=built["notes"], earlier_seconds=built["seconds"])


PEER = Peer(
    title="Torch-Pruning and fine-tuning, dynamic int8",
    kind="trained",
    packages=("onnxruntime",),
    build=build,
    open_model=open_onnx,
    model_files=("model.onnx*",),
)
