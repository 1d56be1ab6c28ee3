"""PyTorch on an NVIDIA GPU: a program compiled ahead of time by AOTInductor, for this kind of GPU.

The time of a call includes its copies to and from the GPU, which a user waits for, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.formats.target_format import TargetFormat
from autocompress.runtimes import RuntimeSnippet, onnxruntime_cuda, torch


def available() -> str | None:
    """Return the package's version; None where it is not installed or there is no GPU. This imports nothing."""
    return torch.available() if any(Path(device).exists() for device in onnxruntime_cuda.DEVICES) else None


def open_session(folder: Path, threads: int) -> torch.TorchSession:
    """Open an artifact's model.pt2 on the GPU."""
    return torch.TorchSession(folder / "model.pt2", threads, "cuda")


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """Return the calls of a forward pass, from PyTorch's profile of the host: the time of a call is that of its launch."""
    return torch.profile_kernels(open_session(folder, threads), folder, feed, "cuda")


RUNTIME = replace(
    torch.RUNTIME,
    target_format=TargetFormat(program="cuda"),
    available=available,
    open_session=open_session,
    audit=audit,
    accelerator=onnxruntime_cuda.accelerator,
    snippet=RuntimeSnippet(
        imports="import torch",
        opening='model = torch._inductor.aoti_load_package("model.pt2")',
        call="model(*(torch.from_numpy(value).cuda() for value in {inputs}.values())).cpu().numpy()",
    ),
)
