"""Replace the product of a weight matrix in an ONNX graph by operators that read the weights in fewer bits.

Each quantizer takes the graph, the product's node and its weight (rows, columns), and returns the nodes that replace it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from autocompress.formats.onnx_graph import Node, OnnxGraph
from autocompress.formats.target_format import Ranges
from autocompress.techniques.quantization._blocks import quantize_blocks

BLOCK = 128  # weights that share one scale, at 4 bits
BLOCK_2_BITS = 32  # four levels need finer scales


def store_16_bits(view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
    """Store the weights as float16, which the session widens when it opens: half the size, the same speed."""
    name = view.add_constant(f"{node.output[0]}_w16", weight.astype(np.float16))
    wide, product = f"{node.output[0]}_w32", f"{node.output[0]}_product"
    cast = helper.make_node("Cast", [name], [wide], to=onnx.TensorProto.FLOAT)
    return _add_bias(node, product, [cast, helper.make_node("MatMul", [node.input[0], wide], [product])])


def quantize_8_bits(view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
    """Quantize activations at each call with one scale per tensor, weights symmetrically with one scale per column.

    onnxruntime fuses the operators into one when the session opens.
    """
    base, source = node.output[0], node.input[0]
    q_name, s_name, z_name = _add_int8_columns(view, base, weight)
    x, x_scale, x_zero = (f"{base}_x8", f"{base}_x8_scale", f"{base}_x8_zero")
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [source], [x, x_scale, x_zero]),
        helper.make_node("MatMulInteger", [x, q_name, x_zero, z_name], [f"{base}_i32"]),
        helper.make_node("Cast", [f"{base}_i32"], [f"{base}_f32"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [x_scale, s_name], [f"{base}_scale"]),
        helper.make_node("Mul", [f"{base}_f32", f"{base}_scale"], [f"{base}_product"]),
    ]
    return _add_bias(node, f"{base}_product", nodes)


class StaticQuantizer:
    """Quantize activations by fixed ranges (int8, symmetric, one scale per tensor), weights as `quantize_8_bits` does.

    The graph gets quantize–dequantize pairs, which the runtime fuses into integer products when it opens the model. A zero
    point other than 0 makes OpenVINO choose a slower product (studies/LOG.md).
    """

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._quantized: set[str] = set()  # several matrices may multiply one input

    def __call__(self, view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
        base, source = node.output[0], node.input[0]
        wide, product = f"{base}_w32", f"{base}_product"
        nodes = [] if source in self._quantized else self._quantize_input(view, source)
        nodes += [
            helper.make_node("DequantizeLinear", [*_add_int8_columns(view, base, weight)], [wide], axis=1),
            helper.make_node("MatMul", [f"{source}_x32", wide], [product]),
        ]
        return _add_bias(node, product, nodes)

    def _quantize_input(self, view: OnnxGraph, source: str) -> list[Node]:
        self._quantized.add(source)
        scale = max(self._ranges[source] / 127, 1e-9)
        scale_name = view.add_constant(f"{source}_x8_scale", np.array(scale, np.float32))
        zero_name = view.add_constant(f"{source}_x8_zero", np.array(0, np.int8))
        return [
            helper.make_node("QuantizeLinear", [source, scale_name, zero_name], [f"{source}_x8"]),
            helper.make_node("DequantizeLinear", [f"{source}_x8", scale_name, zero_name], [f"{source}_x32"]),
        ]


def quantize_4_bits(view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
    """Quantize the weights block-wise to 4 bits."""
    return _quantize_blocks(view, node, weight, 4, BLOCK)


def quantize_2_bits(view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
    """Quantize the weights block-wise to 2 bits."""
    return _quantize_blocks(view, node, weight, 2, BLOCK_2_BITS)


def _quantize_blocks(view: OnnxGraph, node: Node, weight: np.ndarray, bits: int, block: int) -> list[Node]:
    """Multiply by onnxruntime's MatMulNBits with int8 activations (accuracy_level 4)."""
    base, (rows, columns) = node.output[0], weight.shape
    block = max(16, min(block, 1 << (rows - 1).bit_length()))  # a matrix with few rows is not padded to a large block
    blocks = quantize_blocks(weight.T, bits, block)
    view.declare_domain("com.microsoft")
    product = f"{base}_product"
    inputs = [
        node.input[0],
        view.add_constant(f"{base}_w{bits}", blocks.packed),  # (columns, blocks, block × bits ÷ 8)
        view.add_constant(f"{base}_w{bits}_scale", blocks.scales.reshape(-1)),
        view.add_constant(f"{base}_w{bits}_zero", blocks.zeros.reshape(-1)),
    ]
    attributes: dict[str, Any] = {"K": rows, "N": columns, "bits": bits, "block_size": block, "accuracy_level": 4}
    matmul = helper.make_node("MatMulNBits", inputs, [product], domain="com.microsoft", **attributes)
    return _add_bias(node, product, [matmul])


def _add_int8_columns(view: OnnxGraph, base: str, weight: np.ndarray) -> tuple[str, str, str]:
    """Add a symmetric int8 matrix with one scale per column; return the names of its codes, scales and zeros."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127  # (columns,)
    return (
        view.add_constant(f"{base}_w8", np.clip(np.round(weight / scale), -127, 127).astype(np.int8)),
        view.add_constant(f"{base}_w8_scale", scale.astype(np.float32)),
        view.add_constant(f"{base}_w8_zero", np.zeros(len(scale), np.int8)),
    )


def _add_bias(node: Node, product: str, nodes: list[Node]) -> list[Node]:
    """End the nodes with the output of `node`: add the bias of a Gemm, rename the output of a MatMul."""
    if node.op_type == "Gemm" and len(node.input) > 2:
        return [*nodes, helper.make_node("Add", [product, node.input[2]], list(node.output))]
    nodes[-1].output[0] = node.output[0]
    return nodes
