"""onnxruntime on the CPU, in a default session: only the number of threads is set."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import TypedDict

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.formats.target_format import ONNXRUNTIME_FORMAT
from autocompress.runtimes import Runtime, RuntimeSnippet, SupportedValues
from autocompress.runtimes._operators import OperatorKind, count_operators
from autocompress.runtimes._probing import RunModel, probe_runtime

PROVIDERS = ("CPUExecutionProvider",)
AUDIT_PASSES = 5
PACKAGES = ("onnxruntime", "onnxruntime-gpu")  # either contains the module
MODEL_FILES = ("model.onnx",)
TARGET_FORMAT = ONNXRUNTIME_FORMAT


def available() -> str | None:
    """Return the runtime's version; None where it is not installed."""
    if util.find_spec("onnxruntime") is None:
        return None
    versions = {package.name: package.version for name in PACKAGES for package in metadata.distributions(name=name)}
    return next((versions[name] for name in PACKAGES if name in versions), None)


def load_package() -> None:
    """Import the package."""
    import onnxruntime  # noqa: F401  # for its effect


class OnnxSession:
    """A default `onnxruntime.InferenceSession`."""

    def __init__(
        self, model: str | bytes, threads: int, providers: Sequence[str] = PROVIDERS, profile: str | None = None
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, profile
        self._session = onnxruntime.InferenceSession(model, options, providers=list(providers))
        self.providers = tuple(self._session.get_providers())
        self.inputs = tuple(entry.name for entry in self._session.get_inputs())

    def end_profiling(self) -> str:
        """Return the path of the profile of a session that was opened with one."""
        return str(self._session.end_profiling())

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return logits (batch, labels)."""
        outputs = self._session.run(None, {name: feeds[name] for name in self.inputs})
        return np.asarray(outputs[0])


def open_session(folder: Path, threads: int) -> OnnxSession:
    """Open an artifact's model.onnx."""
    return OnnxSession(str(folder / "model.onnx"), threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """Return the operators of a forward pass, from the runtime's own profile."""
    return profile_operators(folder, feed, threads, PROVIDERS)


def profile_operators(
    folder: Path, feed: Mapping[str, np.ndarray], threads: int, providers: Sequence[str]
) -> list[Operator]:
    """Return the operators of a forward pass; those that the first provider did not run are fallbacks."""
    with tempfile.TemporaryDirectory() as profile_folder:
        session = OnnxSession(str(folder / "model.onnx"), threads, providers, f"{profile_folder}/profile")
        for _ in range(AUDIT_PASSES):
            session.run(feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    calls = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    return count_operators(
        ((_read_kind(event["args"], providers[0]), event["dur"] / 1e6) for event in calls), AUDIT_PASSES
    )


class _CallArguments(TypedDict):
    """The arguments of a call's event in a profile, as far as they are read."""

    op_name: str
    provider: str
    input_type_shape: list[dict[str, list[int]]]  # type -> shape, of each input


def _read_kind(arguments: _CallArguments, intended_provider: str) -> OperatorKind:
    """Return the kind of a call, from the arguments of its event."""
    types = {name for entry in arguments["input_type_shape"] for name in entry}
    numbers = types & {"int8", "uint8"} or types & {"float16", "float"} or types
    provider = arguments["provider"]
    return OperatorKind(arguments["op_name"], " ".join(sorted(numbers)), provider, provider != intended_provider)


def supported(run: RunModel | None = None) -> SupportedValues:
    """Return the values of each decision that run a small graph, on this machine or on the device of `run`."""
    return probe_runtime(run or _run_locally, TARGET_FORMAT)


def _run_locally(model: bytes, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    return OnnxSession(model, 1).run(feeds)


RUNTIME = Runtime(
    package="onnxruntime",
    target_format=TARGET_FORMAT,
    model_files=MODEL_FILES,
    available=available,
    probe=supported,
    open_session=open_session,
    audit=audit,
    load_package=load_package,
    snippet=RuntimeSnippet(
        imports="import onnxruntime",
        opening="options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = {threads}\n"
        'session = onnxruntime.InferenceSession("model.onnx", options)',
        call="session.run(None, {inputs})[0]",
    ),
)
