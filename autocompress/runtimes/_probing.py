"""Find the bits that a runtime has kernels for, by running a small graph in each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from autocompress.core import registry
from autocompress.core.errors import DeviceLost, UsageError
from autocompress.core.recipe import Scalar
from autocompress.formats.target_format import TargetFormat, UnsupportedPrecision
from autocompress.models.attentions import ATTENTIONS

if TYPE_CHECKING:
    from autocompress.formats.torch_export import TorchProgram

RunModel = Callable[[bytes, Mapping[str, np.ndarray]], np.ndarray]  # a model's bytes and its inputs -> its output
INPUTS = {"input_ids": np.arange(8, dtype=np.int64)[None]}
RANGES = {"rows": 4.0}  # of the small graph's activations
DECISIONS = ("weight_bits", "embedding_bits")


@cache
def probe_graphs(run: RunModel, target_format: TargetFormat) -> dict[str, tuple[Scalar, ...]]:
    """Return the values of each decision that work in that format; the result for each `run` is cached."""
    target_format = replace(target_format, ranges=RANGES if target_format.static else None)
    bits = {decision: _find_graph_bits(decision, run, target_format) for decision in DECISIONS}
    return {**bits, "attention": tuple(ATTENTIONS.names())}


def _find_graph_bits(decision: str, run: RunModel, target_format: TargetFormat) -> tuple[int, ...]:
    technique = registry.load("techniques", decision)
    exact = run(_build_graph().SerializeToString(), INPUTS)
    return tuple(
        bits
        for bits in technique.VALUES
        if bits == 32 or _graph_works(technique.apply, bits, target_format, run, exact)
    )


def _graph_works(
    apply: Callable[[Any, int, TargetFormat], None],
    bits: int,
    target_format: TargetFormat,
    run: RunModel,
    exact: np.ndarray,
) -> bool:
    """Return whether the output of a table and a matrix in so many bits is close to that in 32 bits."""
    graph = _build_graph()
    try:
        apply(graph, bits, target_format)
    except UnsupportedPrecision:
        return False
    try:
        rough = run(graph.SerializeToString(), INPUTS)
    except (DeviceLost, UsageError):
        raise
    except Exception:  # each runtime has its own exceptions for a missing kernel
        return False
    return rough.shape == exact.shape and bool(np.abs(rough - exact).mean() < np.abs(exact).mean())


def _build_graph() -> Any:
    """Build an ONNX graph that looks up rows of a table and multiplies them by a matrix."""
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


@cache
def probe_programs() -> dict[str, tuple[Scalar, ...]]:
    """Return the values of each decision that work in a PyTorch program.

    The same operations run without being compiled, because compiling takes seconds.
    """
    bits = {
        decision: tuple(bits for bits in registry.load("techniques", decision).VALUES if _program_works(decision, bits))
        for decision in DECISIONS
    }
    dynamic = tuple(name for name, attention in ATTENTIONS.entries().items() if attention.dynamic_length)
    return {**bits, "attention": dynamic}


def _program_works(decision: str, bits: int) -> bool:
    """Return whether the output of a table and a matrix in so many bits is close to that in 32 bits."""
    if bits == 32:
        return True
    import torch

    program = _build_program()
    inputs = [torch.from_numpy(INPUTS["input_ids"]), torch.ones_like(torch.from_numpy(INPUTS["input_ids"]))]
    exact = program.run(*inputs)
    try:
        registry.load("techniques", decision).apply_program(program, bits)
    except UnsupportedPrecision:
        return False
    try:
        rough = program.run(*inputs)
    except RuntimeError:  # PyTorch's exception for a missing kernel
        return False
    return bool((rough - exact).abs().mean() < exact.abs().mean())


def _build_program() -> TorchProgram:
    """Build a PyTorch program that looks up rows of a table and multiplies them by a matrix."""
    import torch

    from autocompress.formats.torch_export import TorchProgram

    class LookUpAndMultiply(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(64, 128)
            self.matrix = torch.nn.Linear(128, 64)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            rows: torch.Tensor = self.matrix(self.table(input_ids))
            return rows * attention_mask[..., None]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TorchProgram(LookUpAndMultiply(), 2, 64)
