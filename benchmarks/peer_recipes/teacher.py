"""The reference: the study's fp32 teacher as it was measured, in a default session of onnxruntime."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peer_recipes import Built, Peer
from benchmarks.peer_recipes._transformers import copy_files, open_onnx
from benchmarks.peers_cases import Case


def build(case: Case, folder: Path) -> Built:
    """Copy the teacher's artifact."""
    copy_files(case.teacher_onnx, folder)
    return Built(seconds=0.0)


PEER = Peer(
    title="teacher, fp32, onnxruntime",
    kind="reference",
    packages=("onnxruntime",),
    build=build,
    open_model=open_onnx,
    model_files=("model.onnx*",),
)
