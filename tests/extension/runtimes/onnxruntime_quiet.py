"""onnxruntime on the CPU whose threads sleep while they wait: a little slower, and other programs get the cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from autocompress.runtimes import RuntimeSnippet, onnxruntime

SPINNING = "session.intra_op.allow_spinning"  # onnxruntime's threads wait in a loop unless it is 0


class QuietSession:
    """An `onnxruntime.InferenceSession` whose threads do not spin."""

    def __init__(self, model: Path, threads: int) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry(SPINNING, "0")
        self._session = InferenceSession(str(model), options, providers=list(onnxruntime.PROVIDERS))
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the model's output."""
        return np.asarray(self._session.run(None, {name: feeds[name] for name in self._inputs})[0])


def open_session(folder: Path, threads: int) -> QuietSession:
    """Open an artifact's model.onnx."""
    return QuietSession(folder / "model.onnx", threads)


RUNTIME = replace(
    onnxruntime.RUNTIME,
    open_session=open_session,
    snippet=RuntimeSnippet(
        imports="import onnxruntime",
        opening="options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = {threads}\n"
        'options.add_session_config_entry("session.intra_op.allow_spinning", "0")\n'
        'session = onnxruntime.InferenceSession("model.onnx", options)',
        call="session.run(None, {inputs})[0]",
    ),
)
