"""onnxruntime on an NVIDIA GPU (the package onnxruntime-gpu), in a default session with the CUDA provider.

What the provider has no kernel for runs on the CPU, and is told as a fallback by the audit. A call is timed with its copies to
and from the GPU, as a user sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path

import numpy as np

from autocompress.core.errors import AutocompressError
from autocompress.core.measurement import Operator
from autocompress.core.recipe import Scalar
from autocompress.formats.target_format import ONNXRUNTIME_FORMAT
from autocompress.runtimes import onnxruntime
from autocompress.runtimes._probing import RunModel, probed

PACKAGE = "onnxruntime-gpu"
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
DEVICES = ("/dev/nvidia0", "/dev/dxg")  # of Linux, and of Linux inside Windows
GPUS = Path("/proc/driver/nvidia/gpus")
MODEL_FILES = onnxruntime.MODEL_FILES
TARGET_FORMAT = ONNXRUNTIME_FORMAT
load = onnxruntime.load


def available() -> str | None:
    """The package's version, or null where it is not installed or there is no GPU. Nothing is imported for it."""
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    there = util.find_spec("onnxruntime") and any(Path(device).exists() for device in DEVICES)
    return version if there else None


def accelerator() -> str | None:
    """The GPU's name, where the driver tells it."""
    for path in sorted(GPUS.glob("*/information")):
        lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
        return next((value.strip() for key, _, value in lines if key.strip() == "Model"), None)
    return None


def open_session(folder: Path, threads: int) -> onnxruntime.OnnxSession:
    """Open an artifact's model.onnx on the GPU. AutocompressError where the provider does not load: onnxruntime alone would
    go on, on the CPU, with a warning."""
    return _on_gpu(str(folder / "model.onnx"), threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """The operators of a forward pass, from the runtime's own profile."""
    return onnxruntime.profiled(folder, feed, threads, PROVIDERS)


def supported(run: RunModel | None = None) -> dict[str, tuple[Scalar, ...]]:
    """Values of each decision that really run, found by running a small graph of each; here, or wherever `run` runs it."""
    return probed(run or _run_here, TARGET_FORMAT)


def _run_here(model: bytes, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    return _on_gpu(model, 1).run(feeds)


def _on_gpu(model: str | bytes, threads: int) -> onnxruntime.OnnxSession:
    session = onnxruntime.OnnxSession(model, threads, PROVIDERS)
    if session.providers[0] != PROVIDERS[0]:
        raise AutocompressError(
            f"onnxruntime could not load {PROVIDERS[0]}, and would run on the CPU; install onnxruntime-gpu with the CUDA and "
            "cuDNN versions that its release notes name, or use runtime: onnxruntime"
        )
    return session
