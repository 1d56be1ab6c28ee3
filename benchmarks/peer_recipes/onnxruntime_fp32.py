"""The stock export in fp32: how much of our speed-up is the export alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peer_recipes import Peer
from benchmarks.peer_recipes._transformers import export_onnx, load_model, open_onnx
from benchmarks.peers_cases import Case


def build(case: Case, folder: Path) -> None:
    """Export the teacher."""
    export_onnx(load_model(case.teacher), folder / "model.onnx")


PEER = Peer(
    title="onnxruntime, fp32, stock export",
    kind="training-free",
    packages=("onnxruntime", "torch"),
    build=build,
    open_model=open_onnx,
    model_files=("model.onnx*",),
)
