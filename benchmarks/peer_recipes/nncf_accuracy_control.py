"""NNCF's int8 with accuracy control on OpenVINO.

As its documentation says: `quantize_with_accuracy_control` returns operators to higher precision until the accuracy on the
validation rows is within `max_drop`, here the 1 point that our model may lose, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.peer_recipes import Built, Peer
from benchmarks.peer_recipes._openvino import calibration_set, convert_teacher, select_inputs
from benchmarks.peer_recipes._transformers import Feed, encode, load_tokenizer, open_openvino
from benchmarks.peers_cases import Case

MAX_DROP = 0.01


def build(case: Case, folder: Path) -> Built:
    """Convert the teacher and quantize it within the drop."""
    model = convert_teacher(case)
    import nncf
    import openvino

    rows, tokenizer = case.rows("validation"), load_tokenizer(case)
    labelled = [(encode(tokenizer, text), label) for text, label in zip(rows.texts, rows.labels, strict=True)]
    accuracies: list[float] = []

    def validate(compiled: Any, items: Iterable[tuple[Feed, int]]) -> tuple[float, list[float]]:
        right = [float(compiled(select_inputs(feed, model))[0].argmax() == label) for feed, label in items]
        accuracies.append(sum(right) / len(right))
        return accuracies[-1], right

    quantized = nncf.quantize_with_accuracy_control(
        model,
        calibration_set(case, model),
        nncf.Dataset(labelled, lambda item: select_inputs(item[0], model)),
        validate,
        max_drop=MAX_DROP,
        drop_type=nncf.DropType.ABSOLUTE,
        model_type=nncf.ModelType.TRANSFORMER,
    )
    openvino.save_model(quantized, folder / "model.xml")
    return Built(notes="validation: " + ", ".join(f"{100 * value:.1f}" for value in accuracies))


PEER = Peer(
    title="OpenVINO, NNCF int8 with accuracy control",
    kind="training-free",
    environment="nncf",
    packages=("openvino", "nncf"),
    build=build,
    open_model=open_openvino,
    model_files=("model.xml", "model.bin"),
)
