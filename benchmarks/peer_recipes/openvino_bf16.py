"""OpenVINO with its defaults: it runs fp32 models in bf16 where the CPU supports that.

As its documentation says: `convert_model`, then `save_model`, which stores weights in fp16.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peer_recipes import Peer
from benchmarks.peer_recipes._openvino import convert_teacher
from benchmarks.peer_recipes._transformers import open_openvino
from benchmarks.peers_cases import Case


def build(case: Case, folder: Path) -> None:
    """Convert the teacher."""
    model = convert_teacher(case)
    import openvino

    openvino.save_model(model, folder / "model.xml")


PEER = Peer(
    title="OpenVINO, bf16",
    kind="training-free",
    packages=("openvino", "torch"),
    build=build,
    open_model=open_openvino,
    model_files=("model.xml", "model.bin"),
)
