"""NNCF's post-training int8 on OpenVINO.

As its documentation says: `nncf.quantize` with the model type TRANSFORMER, calibrated on 300 training rows.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peer_recipes import Peer
from benchmarks.peer_recipes._openvino import calibration_set, convert_teacher
from benchmarks.peer_recipes._transformers import open_openvino
from benchmarks.peers_cases import Case


def build(case: Case, folder: Path) -> None:
    """Convert the teacher and quantize it."""
    model = convert_teacher(case)
    import nncf
    import openvino

    quantized = nncf.quantize(model, calibration_set(case, model), model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(quantized, folder / "model.xml")


PEER = Peer(
    title="OpenVINO, NNCF int8",
    kind="training-free",
    environment="nncf",
    packages=("openvino", "nncf"),
    build=build,
    open_model=open_openvino,
    model_files=("model.xml", "model.bin"),
)
