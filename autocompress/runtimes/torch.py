"""PyTorch on the CPU: a program that AOTInductor compiled ahead of time for this kind of processor; opening compiles nothing.

8-bit matrices run as int8 products with activations quantized at each call (`aten._int_mm`), 16 bits as bfloat16 products.
The package holds native code, so that no agent takes it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.core.recipe import Scalar
from autocompress.formats.target_format import TargetFormat
from autocompress.runtimes import summed
from autocompress.runtimes._probing import RunModel, probed_program

PASSES = 5  # of an audit
MODEL_FILES = ("model.pt2",)
TARGET_FORMAT = TargetFormat(program="cpu")
KERNELS = ("aoti_torch_cpu_", "aoti_torch_cuda_", "aoti_torch_", "cpp_fused_", "graph_0_cpp_fused_", "triton_")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def available() -> str | None:
    """The package's version, or null where it is not installed."""
    return metadata.version("torch") if util.find_spec("torch") else None


def load() -> Any:
    """The package, whose profiler would say on the terminal when it begins and ends."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    import torch

    return torch


class TorchSession:
    """A package of AOTInductor, opened as its documentation says."""

    def __init__(self, model: Path, threads: int, device: str = "cpu") -> None:
        self._torch, self._threads, self._device = load(), threads, device
        self._run = self._torch._inductor.aoti_load_package(str(model))
        arguments = json.loads(self._run.loader.get_call_spec()[0])[1]["children_spec"][0]
        self._inputs = INPUTS[: len(arguments["children_spec"])]

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, labels)."""
        torch = self._torch
        before = torch.get_num_threads()  # of the process: it trains, perhaps, with others
        if before != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                given = [torch.from_numpy(feeds[name]).to(self._device) for name in self._inputs]
                return np.asarray(self._run(*given).cpu().numpy())
        finally:
            if before != self._threads:
                torch.set_num_threads(before)


def open_session(folder: Path, threads: int) -> TorchSession:
    """Open an artifact's model.pt2."""
    return TorchSession(folder / "model.pt2", threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """The kernels of a forward pass, from PyTorch's own profile."""
    return profiled(open_session(folder, threads), folder, feed, "cpu")


def profiled(session: TorchSession, folder: Path, feed: Mapping[str, np.ndarray], device: str) -> list[Operator]:
    """See `audit`. The profile tells no types: what a product computes in follows from its name and the recipe."""
    torch = load()
    session.run(feed)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(PASSES):
            session.run(feed)
    with tempfile.TemporaryDirectory() as place:
        profile.export_chrome_trace(f"{place}/trace.json")
        events = json.loads(Path(place, "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    bits = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["recipe"]["weight_bits"]
    called = _outermost([event for event in events if event.get("cat") == "cpu_op" and _is_kernel(event["name"])])
    return summed(((_kind(event["name"], bits, device), event["dur"] / 1e6) for event in called), PASSES)


def supported(run: RunModel | None = None) -> dict[str, tuple[Scalar, ...]]:
    """Values of each decision that really run here, found by running a small program of each."""
    assert run is None, "no agent takes it: target_of refuses that"
    return probed_program()


def _outermost(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Operators that no other one called."""
    found: list[dict[str, Any]] = []
    end = float("-inf")
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] >= end:
            found.append(event)
            end = event["ts"] + event["dur"]
    return found


def _is_kernel(name: str) -> bool:
    """Of the package; the rest are copies of inputs and outputs."""
    return name.startswith(KERNELS)


def _kind(name: str, bits: int, device: str) -> tuple[str, str, str, bool]:
    words = re.sub("|".join(KERNELS), "", name)
    if "_int_mm" in name:
        return words, "int8", device, False
    product = "mm" in name or "linear" in name
    return words, "bfloat16 or float" if product and bits == 16 else "float", device, False
