"""onnxruntime on an NVIDIA GPU (the package onnxruntime-gpu), in a default session with the CUDA provider.

Operators without a CUDA kernel run on the CPU, and the audit lists them as fallbacks. The time of a call includes its copies
to and from the GPU, which a user waits for, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path

import numpy as np

from autocompress.core.errors import AutocompressError
from autocompress.core.measurement import Operator
from autocompress.formats.target_format import ONNXRUNTIME_FORMAT
from autocompress.runtimes import Runtime, RuntimeSnippet, SupportedValues, onnxruntime
from autocompress.runtimes._probing import RunModel, probe_runtime

PACKAGE = "onnxruntime-gpu"
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
DEVICES = ("/dev/nvidia0", "/dev/dxg")  # on Linux, and on Linux inside Windows
GPUS = Path("/proc/driver/nvidia/gpus")


def available() -> str | None:
    """Return the package's version; None where it is not installed or there is no GPU. This imports nothing."""
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    can_run = util.find_spec("onnxruntime") and any(Path(device).exists() for device in DEVICES)
    return version if can_run else None


def accelerator() -> str | None:
    """Return the GPU's name; None where the driver lists none."""
    for path in sorted(GPUS.glob("*/information")):
        lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
        return next((value.strip() for key, _, value in lines if key.strip() == "Model"), None)
    return None


def open_session(folder: Path, threads: int) -> onnxruntime.OnnxSession:
    """Open an artifact's model.onnx on the GPU.

    AutocompressError where the provider does not load: onnxruntime would only warn and run on the CPU.
    """
    return _open_on_gpu(str(folder / "model.onnx"), threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """Return the operators of a forward pass, from the runtime's own profile."""
    return onnxruntime.profile_operators(folder, feed, threads, PROVIDERS)


def supported(run: RunModel | None = None) -> SupportedValues:
    """Return the values of each decision that run a small graph, on this machine or on the device of `run`."""
    return probe_runtime(run or _run_locally, ONNXRUNTIME_FORMAT)


def _run_locally(model: bytes, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    return _open_on_gpu(model, 1).run(feeds)


def _open_on_gpu(model: str | bytes, threads: int) -> onnxruntime.OnnxSession:
    session = onnxruntime.OnnxSession(model, threads, PROVIDERS)
    if session.providers[0] != PROVIDERS[0]:
        raise AutocompressError(
            f"onnxruntime could not load {PROVIDERS[0]} and would run on the CPU; install onnxruntime-gpu with the CUDA and "
            "cuDNN versions that its release notes name, or use `runtime: onnxruntime`"
        )
    return session


RUNTIME = Runtime(
    package=PACKAGE,
    target_format=ONNXRUNTIME_FORMAT,
    model_files=onnxruntime.MODEL_FILES,
    available=available,
    probe=supported,
    open_session=open_session,
    audit=audit,
    load_package=onnxruntime.load_package,
    accelerator=accelerator,
    snippet=RuntimeSnippet(
        imports="import onnxruntime",
        opening="options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = {threads}\n"
        'providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]\n'
        'session = onnxruntime.InferenceSession("model.onnx", options, providers=providers)',
        call="session.run(None, {inputs})[0]",
    ),
)
