"""onnxruntime on the CPU, in a default session: no option set but the number of threads."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.core.recipe import Scalar
from autocompress.formats.target_format import ONNXRUNTIME_FORMAT
from autocompress.runtimes import summed
from autocompress.runtimes._probing import RunModel, probed

PROVIDERS = ("CPUExecutionProvider",)
PASSES = 5  # of an audit
PACKAGES = ("onnxruntime", "onnxruntime-gpu")  # either brings the module
MODEL_FILES = ("model.onnx",)
TARGET_FORMAT = ONNXRUNTIME_FORMAT


def available() -> str | None:
    """The runtime's version, or null where it is not installed."""
    if util.find_spec("onnxruntime") is None:
        return None
    known = {one.name: one.version for name in PACKAGES for one in metadata.distributions(name=name)}
    return next((known[name] for name in PACKAGES if name in known), None)


def load() -> Any:
    """The package."""
    import onnxruntime

    return onnxruntime


class OnnxSession:
    """A default `onnxruntime.InferenceSession`."""

    def __init__(
        self, model: str | bytes, threads: int, providers: Sequence[str] = PROVIDERS, profile: str | None = None
    ) -> None:
        onnxruntime = load()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, profile
        self._session = onnxruntime.InferenceSession(model, options, providers=list(providers))
        self.providers = tuple(self._session.get_providers())
        self.inputs = tuple(entry.name for entry in self._session.get_inputs())

    def end_profiling(self) -> str:
        """The file with the profile, where one was asked for."""
        return str(self._session.end_profiling())

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, labels)."""
        outputs = self._session.run(None, {name: feeds[name] for name in self.inputs})
        return np.asarray(outputs[0])


def open_session(folder: Path, threads: int) -> OnnxSession:
    """Open an artifact's model.onnx."""
    return OnnxSession(str(folder / "model.onnx"), threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """The operators of a forward pass, from the runtime's own profile."""
    return profiled(folder, feed, threads, PROVIDERS)


def profiled(folder: Path, feed: Mapping[str, np.ndarray], threads: int, providers: Sequence[str]) -> list[Operator]:
    """See `audit`; the first provider is the wanted one."""
    with tempfile.TemporaryDirectory() as place:
        session = OnnxSession(str(folder / "model.onnx"), threads, providers, f"{place}/profile")
        for _ in range(PASSES):
            session.run(feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    told = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    return summed(((_kind(event["args"], providers[0]), event["dur"] / 1e6) for event in told), PASSES)


def _kind(told: Mapping[str, Any], wanted: str) -> tuple[str, str, str, bool]:
    types = {name for entry in told["input_type_shape"] for name in entry}
    numbers = types & {"int8", "uint8"} or types & {"float16", "float"} or types
    provider = told["provider"]
    return told["op_name"], " ".join(sorted(numbers)), provider, provider != wanted


def supported(run: RunModel | None = None) -> dict[str, tuple[Scalar, ...]]:
    """Values of each decision that really run, found by running a small graph of each; here, or wherever `run` runs it."""
    return probed(run or _run_here, TARGET_FORMAT)


def _run_here(model: bytes, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    return OnnxSession(model, 1).run(feeds)
