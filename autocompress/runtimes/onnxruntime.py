"""onnxruntime on the CPU, in a default session: no option set but the number of threads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.recipe import Scalar
from autocompress.runtimes import USUAL_DIALECT
from autocompress.runtimes._probing import Run, probed

MODEL_FILES = ("model.onnx",)
DIALECT = USUAL_DIALECT


def available() -> str | None:
    """The runtime's version, or null where it is not installed."""
    return metadata.version("onnxruntime") if util.find_spec("onnxruntime") else None


def load() -> Any:
    """The package."""
    import onnxruntime

    return onnxruntime


class OnnxSession:
    """A default `onnxruntime.InferenceSession`."""

    def __init__(self, model: str | bytes, threads: int) -> None:
        onnxruntime = load()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(entry.name for entry in self._session.get_inputs())

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, labels)."""
        outputs = self._session.run(None, {name: feeds[name] for name in self.inputs})
        return np.asarray(outputs[0])


def open_session(folder: Path, threads: int) -> OnnxSession:
    """Open an artifact's model.onnx."""
    return OnnxSession(str(folder / "model.onnx"), threads)


def supported(run: Run | None = None) -> dict[str, tuple[Scalar, ...]]:
    """Values of each decision that really run, found by running a small graph of each; here, or wherever `run` runs it."""
    return _supported(run or _run_here)


@cache
def _supported(run: Run) -> dict[str, tuple[Scalar, ...]]:
    return probed(run, DIALECT)


def _run_here(model: bytes, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    return OnnxSession(model, 1).run(feeds)
