"""onnxruntime's dynamic int8.

As its documentation says ("Quantize ONNX models"): dynamic quantization for transformers, after `quant_pre_process`, with
signed 8-bit weights and, as it advises where accuracy suffers, scales per channel. Symbolic shape inference is left out, as the
documentation allows where it fails.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.peer_recipes import Peer
from benchmarks.peer_recipes._transformers import export_onnx, load_model, open_onnx, quantize_dynamically
from benchmarks.peers_cases import Case


def build(case: Case, folder: Path) -> None:
    """Export the teacher and quantize it."""
    with tempfile.TemporaryDirectory() as temporary:
        exported = Path(temporary) / "model.onnx"
        export_onnx(load_model(case.teacher), exported)
        quantize_dynamically(exported, folder / "model.onnx")


PEER = Peer(
    title="onnxruntime, dynamic int8",
    kind="training-free",
    packages=("onnxruntime", "torch"),
    build=build,
    open_model=open_onnx,
    model_files=("model.onnx*",),
)
