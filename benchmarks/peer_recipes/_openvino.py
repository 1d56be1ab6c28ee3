"""What the peers on OpenVINO share: the converted teacher and its calibration rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peer_recipes._transformers import Feed, calibration_feeds, export_onnx, load_model
from benchmarks.peers_cases import Case


def convert_teacher(case: Case) -> Any:
    """Return the teacher as a model of OpenVINO, which is imported without its telemetry."""
    from autocompress.runtimes.openvino import load_package

    load_package()
    import openvino

    with tempfile.TemporaryDirectory() as temporary:
        exported = Path(temporary) / "model.onnx"
        export_onnx(load_model(case.teacher), exported)
        return openvino.convert_model(str(exported))


def calibration_set(case: Case, model: Any) -> Any:
    """Return training rows as NNCF reads them."""
    import nncf

    return nncf.Dataset(calibration_feeds(case), lambda feed: select_inputs(feed, model))


def select_inputs(feed: Feed, model: Any) -> Feed:
    """Return the inputs that a model reads."""
    return {name: feed[name] for name in (entry.get_any_name() for entry in model.inputs)}
