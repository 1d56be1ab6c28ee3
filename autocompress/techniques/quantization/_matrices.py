"""Quantize the weight matrices of an ONNX graph or of a PyTorch program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from autocompress.formats.onnx_graph import Node, OnnxGraph
from autocompress.formats.target_format import Ranges, UnsupportedPrecision
from autocompress.techniques.quantization import _onnx_matrix_quantizers as onnx_matrices

if TYPE_CHECKING:
    from autocompress.formats.torch_export import Replacement, TorchProgram

# A classifier of a few labels is not quantized: the gain is small, and the rounding changes the logits directly.
FEWEST_COLUMNS = 16


def quantize_matrices(graph: onnx.ModelProto, value: int, contrib: bool, ranges: Ranges | None) -> None:
    """Quantize every weight matrix of the graph in place to `value` bits.

    `contrib`: onnxruntime's own operators are allowed. `ranges`: of the activations, where they are quantized by fixed ranges.
    """
    if value < 8 and not contrib:
        raise UnsupportedPrecision(f"weight_bits: {value}: standard operators have at least 8 bits up to opset 20")
    view = OnnxGraph(graph)
    constants = view.read_constants()
    quantizers = {
        16: onnx_matrices.store_16_bits,
        8: onnx_matrices.quantize_8_bits if ranges is None else onnx_matrices.StaticQuantizer(ranges),
        4: onnx_matrices.quantize_4_bits,
        2: onnx_matrices.quantize_2_bits,
    }

    def change(node: Node) -> list[Node] | None:
        weight = _find_weight(node, constants)
        return None if weight is None else quantizers[value](view, node, weight)

    view.rewrite(change)


def quantize_program_matrices(program: TorchProgram, value: int) -> None:
    """Quantize every weight matrix of a PyTorch program in place.

    16 bits are bfloat16 products, 8 bits are int8 products with activations quantized by row.
    """
    if value not in (16, 8):
        raise UnsupportedPrecision(f"weight_bits: {value}: PyTorch has no products below 8 bits for every device")
    from autocompress.techniques.quantization import _torch_matrix_quantizers as torch_matrices

    quantize = torch_matrices.use_bfloat16_product if value == 16 else torch_matrices.use_int8_product

    def change(node: Any) -> Replacement | None:
        weight = program.read_weight(node)
        if weight is None or weight.shape[1] < FEWEST_COLUMNS:
            return None
        bias = program.read_constant(node.args[2]) if len(node.args) > 2 else None
        return quantize(node.args[0], weight, bias)

    program.rewrite(change)


def measure_activation_ranges(graph: onnx.ModelProto, rows: Iterable[Mapping[str, np.ndarray]]) -> Ranges:
    """Return the largest magnitude, over some rows of inputs, of each tensor that a matrix of this fp32 graph multiplies.

    onnxruntime computes the tensors. ValueError where there are no rows.
    """
    import onnxruntime

    watched = onnx.ModelProto.FromString(graph.SerializeToString())
    view = OnnxGraph(watched)
    constants = view.read_constants()
    names = sorted({node.input[0] for node in view.nodes if _find_weight(node, constants) is not None})
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = [entry.name for entry in session.get_inputs()]
    activations = [session.run(names, {name: row[name] for name in inputs}) for row in rows]
    if not activations:
        raise ValueError("rows: static ranges of activations need at least one row of inputs, but there are none")
    return {
        name: max(float(np.abs(x).max()) for x in tensors)
        for name, tensors in zip(names, zip(*activations, strict=True), strict=True)
    }


def _find_weight(node: Node, constants: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return the constant (rows, columns) matrix of a MatMul or Gemm that is worth quantizing; None for any other node."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in constants:
        return None
    weight = constants[node.input[1]]
    if node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
        weight = weight.T
    return weight if weight.ndim == 2 and weight.shape[1] >= FEWEST_COLUMNS else None
