"""PyTorch on the CPU: a program that AOTInductor compiled ahead of time for this kind of processor.

8-bit matrices run as int8 products with activations quantized at each call (`aten._int_mm`), 16 bits as bfloat16 products.
The package contains native code, so that no agent accepts it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import TypedDict

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.core.recipe import Recipe
from autocompress.formats.target_format import TargetFormat
from autocompress.runtimes import Runtime, RuntimeSnippet, SupportedValues
from autocompress.runtimes._operators import OperatorKind, count_operators
from autocompress.runtimes._probing import RunModel, probe_runtime
from autocompress.techniques.stages import ExportTechnique, active_of

AUDIT_PASSES = 5
MODEL_FILES = ("model.pt2",)
TARGET_FORMAT = TargetFormat(program="cpu")
KERNELS = ("aoti_torch_cpu_", "aoti_torch_cuda_", "aoti_torch_", "cpp_fused_", "graph_0_cpp_fused_", "triton_")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def available() -> str | None:
    """Return the package's version; None where it is not installed."""
    return metadata.version("torch") if util.find_spec("torch") else None


def load_package() -> None:
    """Import the package; its profiler must not print to the terminal when it starts and ends."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    import torch  # noqa: F401  # for its effect


class TorchSession:
    """A package of AOTInductor, opened in the documented way."""

    def __init__(self, model: Path, threads: int, device: str = "cpu") -> None:
        load_package()
        import torch

        self._threads, self._device = threads, device
        self._run = torch._inductor.aoti_load_package(str(model))
        arguments = json.loads(self._run.loader.get_call_spec()[0])[1]["children_spec"][0]
        self._inputs = INPUTS[: len(arguments["children_spec"])]

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return logits (batch, labels)."""
        import torch

        before = torch.get_num_threads()  # of the process, which may also train
        if before != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                tensors = [torch.from_numpy(feeds[name]).to(self._device) for name in self._inputs]
                return np.asarray(self._run(*tensors).cpu().numpy())
        finally:
            if before != self._threads:
                torch.set_num_threads(before)


def open_session(folder: Path, threads: int) -> TorchSession:
    """Open an artifact's model.pt2."""
    return TorchSession(folder / "model.pt2", threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """Return the kernels of a forward pass, from PyTorch's own profile."""
    return profile_kernels(open_session(folder, threads), folder, feed, "cpu")


def profile_kernels(session: TorchSession, folder: Path, feed: Mapping[str, np.ndarray], device: str) -> list[Operator]:
    """Return the kernels of a forward pass. The profile lists no types: the name and the recipe give those of a product."""
    load_package()
    import torch

    session.run(feed)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(AUDIT_PASSES):
            session.run(feed)
    with tempfile.TemporaryDirectory() as trace_folder:
        profile.export_chrome_trace(f"{trace_folder}/trace.json")
        events = json.loads(Path(trace_folder, "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    recipe = Recipe.from_stored(json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["recipe"])
    types = [technique.product_type(value) for technique, value in active_of(recipe, ExportTechnique)]
    product_type = next(filter(None, types), None)
    kernels = [event for event in events if event.get("cat") == "cpu_op" and _is_kernel(event["name"])]
    calls = (
        (_read_kind(event["name"], product_type, device), event["dur"] / 1e6) for event in _select_outermost(kernels)
    )
    return count_operators(calls, AUDIT_PASSES)


def supported(run: RunModel | None = None) -> SupportedValues:
    """Return the values of each decision that run a small program on this machine."""
    assert run is None, "open_backend refuses this runtime for agents"
    return probe_runtime(None, TARGET_FORMAT)


class _TraceEvent(TypedDict):
    """An event of a trace, as far as it is read."""

    name: str
    ts: float  # start, in µs
    dur: float  # duration, in µs


def _select_outermost(events: Sequence[_TraceEvent]) -> list[_TraceEvent]:
    """Return the events of operators that no other operator called."""
    outermost: list[_TraceEvent] = []
    end = float("-inf")
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] >= end:
            outermost.append(event)
            end = event["ts"] + event["dur"]
    return outermost


def _is_kernel(name: str) -> bool:
    """Return whether a kernel is one of the package; the others copy inputs and outputs."""
    return name.startswith(KERNELS)


def _read_kind(kernel: str, product_type: str | None, device: str) -> OperatorKind:
    """Return the kind of a call, from the kernel's name and the type of products that the recipe gives."""
    name = re.sub("|".join(KERNELS), "", kernel)
    if "_int_mm" in kernel:
        return OperatorKind(name, "int8", device, False)
    is_product = "mm" in kernel or "linear" in kernel
    precision = f"{product_type} or float" if is_product and product_type else "float"
    return OperatorKind(name, precision, device, False)


RUNTIME = Runtime(
    package="torch",
    target_format=TARGET_FORMAT,
    model_files=MODEL_FILES,
    available=available,
    probe=supported,
    open_session=open_session,
    audit=audit,
    load_package=load_package,
    snippet=RuntimeSnippet(
        imports="import torch",
        opening='torch.set_num_threads({threads})\nmodel = torch._inductor.aoti_load_package("model.pt2")',
        call="model(*(torch.from_numpy(value) for value in {inputs}.values())).numpy()",
    ),
)
