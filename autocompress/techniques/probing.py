"""Find the values of a technique that a runtime can run, with a model of one table and one matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from autocompress.core.errors import DeviceLost, UsageError
from autocompress.core.scalar import Scalar
from autocompress.formats.target_format import TargetFormat, UnsupportedPrecision
from autocompress.techniques.stages import ExportContext, ExportTechnique

if TYPE_CHECKING:
    import onnx

    from autocompress.formats.torch_export import TorchProgram

RunModel = Callable[[bytes, Mapping[str, np.ndarray]], np.ndarray]  # a model's bytes and its inputs -> its output
INPUTS = {"input_ids": np.arange(8, dtype=np.int64)[None]}


@dataclass(frozen=True)
class RuntimeProbe:
    """A runtime on one device: its format, and how to run a model there."""

    target_format: TargetFormat
    run: RunModel | None = None  # null where the format is a PyTorch program, which runs here without being compiled

    def works(self, technique: ExportTechnique, value: Scalar) -> bool:
        """Whether the small model gives nearly its exact output with a value of a technique.

        False where the format cannot express the value, and where the runtime has no kernel for it.
        """
        try:
            rough = self._run_program(technique, value) if self.run is None else self._run_graph(technique, value)
        except UnsupportedPrecision:
            return False
        if rough is None or rough.shape != self._exact.shape:
            return False
        return bool(np.abs(rough - self._exact).mean() < np.abs(self._exact).mean())

    @cached_property
    def _exact(self) -> np.ndarray:
        if self.run is None:
            return _run(_build_program())
        return self.run(_build_graph().SerializeToString(), INPUTS)

    def _run_graph(self, technique: ExportTechnique, value: Scalar) -> np.ndarray | None:
        """Return the output of the graph; null where the runtime has no kernel for it."""
        assert self.run is not None
        graph = _build_graph()
        technique.apply(graph, value, ExportContext(self.target_format, lambda: [INPUTS]))
        try:
            return self.run(graph.SerializeToString(), INPUTS)
        except (DeviceLost, UsageError):
            raise
        except Exception:  # each runtime has its own exceptions for a missing kernel
            return None

    def _run_program(self, technique: ExportTechnique, value: Scalar) -> np.ndarray | None:
        """Return the output of the program, which is not compiled: that takes seconds. Null where a kernel is missing."""
        program = _build_program()
        technique.apply_program(program, value)
        try:
            return _run(program)
        except RuntimeError:  # PyTorch's exception for a missing kernel
            return None


def _run(program: TorchProgram) -> np.ndarray:
    import torch

    ids = torch.from_numpy(INPUTS["input_ids"])
    return program.run(ids, torch.ones_like(ids)).numpy()


def _build_graph() -> onnx.ModelProto:
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
