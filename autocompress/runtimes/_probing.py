"""Which bits a runtime really has kernels for: found by running a small graph in each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from autocompress.core import registry
from autocompress.core.errors import DeviceLost, UsageError
from autocompress.core.recipe import Scalar
from autocompress.formats.target_format import TargetFormat, UnsupportedPrecision

RunModel = Callable[[bytes, Mapping[str, np.ndarray]], np.ndarray]  # a model's bytes and its inputs -> its output
PROBE = {"input_ids": np.arange(8, dtype=np.int64)[None]}
RANGES = {"rows": 4.0}  # of the probe's activations
DECISIONS = ("weight_bits", "embedding_bits")


@cache
def probed(run: RunModel, target_format: TargetFormat) -> dict[str, tuple[Scalar, ...]]:
    """Values of each decision that run, said in that target_format; looked at once for each `run`."""
    target_format = replace(target_format, ranges=RANGES if target_format.static else None)
    bits = {decision: _running(decision, run, target_format) for decision in DECISIONS}
    return {**bits, "attention": tuple(registry.names("attentions"))}


@cache
def probed_program() -> dict[str, tuple[Scalar, ...]]:
    """Likewise, of a PyTorch program: by the same operations, not compiled, since that takes seconds."""
    bits = {
        decision: tuple(bits for bits in registry.load("techniques", decision).VALUES if _program_runs(decision, bits))
        for decision in DECISIONS
    }
    free = tuple(name for name in registry.names("attentions") if registry.load("attentions", name).FREE_SIZES)
    return {**bits, "attention": free}


def _program_runs(decision: str, bits: int) -> bool:
    if bits == 32:
        return True
    import torch

    from autocompress.formats.torch_export import TorchProgram

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(64, 128)
            self.matrix = torch.nn.Linear(128, 64)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            rows: torch.Tensor = self.matrix(self.table(input_ids))
            return rows * attention_mask[..., None]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        program = TorchProgram(Small(), 2, 64)
    inputs = [torch.from_numpy(PROBE["input_ids"]), torch.ones_like(torch.from_numpy(PROBE["input_ids"]))]
    exact = program.run(*inputs)
    try:
        registry.load("techniques", decision).apply_program(program, bits)
    except UnsupportedPrecision:
        return False
    try:
        rough = program.run(*inputs)
    except RuntimeError:  # of PyTorch, where it has no kernel
        return False
    return bool((rough - exact).abs().mean() < exact.abs().mean())


def _running(decision: str, run: RunModel, target_format: TargetFormat) -> tuple[int, ...]:
    technique = registry.load("techniques", decision)
    exact = run(_small_graph().SerializeToString(), PROBE)
    return tuple(
        bits for bits in technique.VALUES if bits == 32 or _runs(technique.apply, bits, target_format, run, exact)
    )


def _runs(
    apply: Callable[[Any, int, TargetFormat], None],
    bits: int,
    target_format: TargetFormat,
    run: RunModel,
    exact: np.ndarray,
) -> bool:
    """Whether a table and a matrix in so many bits give about what they give in 32."""
    graph = _small_graph()
    try:
        apply(graph, bits, target_format)
    except UnsupportedPrecision:
        return False
    try:
        rough = run(graph.SerializeToString(), PROBE)
    except (DeviceLost, UsageError):
        raise
    except Exception:  # runtimes raise types of their own where they have no kernel
        return False
    return rough.shape == exact.shape and bool(np.abs(rough - exact).mean() < np.abs(exact).mean())


def _small_graph() -> Any:
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    tensors = {"table": rng.normal(size=(64, 128)), "matrix": rng.normal(size=(128, 64))}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("MatMul", ["rows", "matrix"], ["y"]),
        ],
        "probe",
        [helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model
