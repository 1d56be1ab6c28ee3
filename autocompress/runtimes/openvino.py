"""OpenVINO on the CPU, compiled with its defaults but for the number of threads: fp32 files run in bf16 where the CPU has it.

It reads the same ONNX files. 8-bit matrices want fixed activation scales (quantize–dequantize pairs), which it runs about as
fast and as well as NNCF's graphs; scales taken at each call it runs several times slower (studies/LOG.md). Of onnxruntime's own
operators it reads some and dies of others (2-bit MatMulNBits: a segmentation fault), so that none are said to it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.core.recipe import Scalar
from autocompress.formats.target_format import TargetFormat
from autocompress.runtimes import summed
from autocompress.runtimes._probing import RunModel, probed

PASSES = 3  # of an audit: the last one counts
MODEL_FILES = ("model.onnx",)
TARGET_FORMAT = TargetFormat(contrib=False, static=True)


def available() -> str | None:
    """The runtime's version, or null where it is not installed."""
    return metadata.version("openvino") if util.find_spec("openvino") else None


def load() -> Any:
    """The package, without the one beside it that tells its makers of every import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "not to be found"; it has a stub for that
    import openvino

    return openvino


class OpenvinoSession:
    """A default `openvino.CompiledModel`; `shape`: of inputs of that size (batch, sequence) alone."""

    def __init__(self, model: Path, threads: int, profile: bool = False, shape: tuple[int, ...] | None = None) -> None:
        read = _core().read_model(str(model))
        self.inputs = tuple(entry.get_any_name() for entry in read.inputs)
        if shape is not None:
            read.reshape({name: list(shape) for name in self.inputs})
        options = {"INFERENCE_NUM_THREADS": threads, **({"PERF_COUNT": True} if profile else {})}
        self._compiled = _core().compile_model(read, "CPU", options)

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, labels)."""
        return np.asarray(self._compiled({name: feeds[name] for name in self.inputs})[0])

    def counters(self) -> list[Any]:
        """Of the last run, where a profile was asked for."""
        return list(self._compiled._infer_request.profiling_info)  # the request that a plain call makes and keeps


def open_session(folder: Path, threads: int) -> OpenvinoSession:
    """Open an artifact's model.onnx."""
    return OpenvinoSession(folder / "model.onnx", threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """The operators of a forward pass, from the runtime's own counters; what it fused into others does not run."""
    return audited(OpenvinoSession(folder / "model.onnx", threads, profile=True), feed)


def audited(session: OpenvinoSession, feed: Mapping[str, np.ndarray]) -> list[Operator]:
    """Likewise, of a session that was opened with a profile."""
    for _ in range(PASSES):
        session.run(feed)
    told = [one for one in session.counters() if str(one.status).endswith(".EXECUTED")]
    return summed(((_kind(one), one.real_time.total_seconds()) for one in told), 1)


def _kind(told: Any) -> tuple[str, str, str, bool]:
    kernel, _, precision = told.exec_type.rpartition("_")
    return told.node_type, precision.lower(), kernel, kernel.startswith("ref")


def supported(run: RunModel | None = None) -> dict[str, tuple[Scalar, ...]]:
    """Values of each decision that really run, found by running a small graph of each; here, or wherever `run` runs it."""
    return probed(run or _run_here, TARGET_FORMAT)


def _run_here(model: bytes, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "model.onnx").write_bytes(model)
        return open_session(Path(place), 1).run(feeds)


@cache
def _core() -> Any:
    """One for the process, as its documentation wants."""
    return load().Core()
