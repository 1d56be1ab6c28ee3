"""OpenVINO on the CPU, with its defaults except for the number of threads: fp32 files run in bf16 where the CPU supports it.

It reads the same ONNX files. 8-bit matrices need fixed activation scales (quantize–dequantize pairs), which it runs about as
fast and as accurately as NNCF's graphs; with scales that are computed at each call it is several times slower (studies/LOG.md).
It reads some of onnxruntime's own operators and crashes on others (2-bit MatMulNBits: a segmentation fault), so that its graphs
contain none of them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.formats.target_format import TargetFormat
from autocompress.runtimes import Runtime, RuntimeSnippet, SupportedValues
from autocompress.runtimes._operators import OperatorKind, count_operators
from autocompress.runtimes._probing import RunModel, probe_runtime

if TYPE_CHECKING:
    import openvino

AUDIT_PASSES = 3  # the last one counts
MODEL_FILES = ("model.onnx",)
TARGET_FORMAT = TargetFormat(contrib=False, static=True)


def available() -> str | None:
    """Return the runtime's version; None where it is not installed."""
    return metadata.version("openvino") if util.find_spec("openvino") else None


def load_package() -> None:
    """Import the package without its telemetry package, which would report every import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: the import fails, and openvino uses a stub
    import openvino  # noqa: F401  # for its effect


class OpenvinoSession:
    """A default `openvino.CompiledModel`; with `shape`, one for inputs of that shape (batch, sequence) only."""

    def __init__(self, model: Path, threads: int, profile: bool = False, shape: tuple[int, ...] | None = None) -> None:
        network = _open_core().read_model(str(model))
        self.inputs = tuple(entry.get_any_name() for entry in network.inputs)
        if shape is not None:
            network.reshape({name: list(shape) for name in self.inputs})
        options = {"INFERENCE_NUM_THREADS": threads, **({"PERF_COUNT": True} if profile else {})}
        self._compiled = _open_core().compile_model(network, "CPU", options)

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return logits (batch, labels)."""
        return np.asarray(self._compiled({name: feeds[name] for name in self.inputs})[0])

    def read_counters(self) -> list[openvino.ProfilingInfo]:
        """Return the counters of the last run of a session that was opened with a profile."""
        return list(self._compiled._infer_request.profiling_info)  # of the request that a plain call creates and keeps


def open_session(folder: Path, threads: int) -> OpenvinoSession:
    """Open an artifact's model.onnx."""
    return OpenvinoSession(folder / "model.onnx", threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """Return the operators of a forward pass, from the runtime's own counters, without those that are fused into others."""
    return audit_session(OpenvinoSession(folder / "model.onnx", threads, profile=True), feed)


def audit_session(session: OpenvinoSession, feed: Mapping[str, np.ndarray]) -> list[Operator]:
    """Return the operators of a forward pass of a session that was opened with a profile."""
    for _ in range(AUDIT_PASSES):
        session.run(feed)
    calls = [counter for counter in session.read_counters() if str(counter.status).endswith(".EXECUTED")]
    return count_operators(((_read_kind(call), call.real_time.total_seconds()) for call in calls), 1)


def _read_kind(counter: openvino.ProfilingInfo) -> OperatorKind:
    """Return the kind of a call, from its counter; a reference kernel is a fallback."""
    kernel, _, precision = counter.exec_type.rpartition("_")
    return OperatorKind(counter.node_type, precision.lower(), kernel, kernel.startswith("ref"))


def supported(run: RunModel | None = None) -> SupportedValues:
    """Return the values of each decision that run a small graph, on this machine or on the device of `run`."""
    return probe_runtime(run or _run_locally, TARGET_FORMAT)


def _run_locally(model: bytes, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(model)
        return open_session(Path(folder), 1).run(feeds)


@cache
def _open_core() -> openvino.Core:
    """Return the core of this process; OpenVINO's documentation asks for a single one."""
    load_package()
    import openvino

    return openvino.Core()


RUNTIME = Runtime(
    package="openvino",
    target_format=TARGET_FORMAT,
    model_files=MODEL_FILES,
    available=available,
    probe=supported,
    open_session=open_session,
    audit=audit,
    load_package=load_package,
    snippet=RuntimeSnippet(
        imports="import openvino",
        opening='options = {{"INFERENCE_NUM_THREADS": {threads}}}\n'
        'model = openvino.Core().compile_model("model.onnx", "CPU", options)',
        call="model({inputs})[0]",
    ),
)
