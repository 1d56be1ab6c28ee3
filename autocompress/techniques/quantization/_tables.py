"""Quantize the embedding tables of an ONNX graph or of a PyTorch program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from autocompress.formats.onnx_graph import Node, OnnxGraph
from autocompress.formats.target_format import UnsupportedPrecision
from autocompress.techniques.quantization._blocks import quantize_blocks

if TYPE_CHECKING:
    from torch import Tensor

    from autocompress.formats.torch_export import Replacement, TorchProgram

BLOCK = 128  # values of a row that share one scale; with blocks of 32, a 4-bit table would be a fifth larger
FEWEST_ROWS = 16  # a token-type table of two rows is not worth an operator


def quantize_tables(graph: onnx.ModelProto, value: int, contrib: bool) -> None:
    """Quantize every embedding table (rows, width) of the graph in place to `value` bits.

    For onnxruntime, GatherBlockQuantized has block-wise scales along the width, with which 4 bits lose little (Dettmers
    et al. 2022). With standard operators, 8 bits have one scale per row.
    """
    view = OnnxGraph(graph)
    constants = view.read_constants()

    def change(node: Node) -> list[Node] | None:
        table = constants.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.ndim != 2 or table.dtype != np.float32 or len(table) < FEWEST_ROWS:
            return None
        if contrib:
            return [_look_up_blocks(view, node, table, value)]
        return _look_up_rows(view, node, table, value)

    view.rewrite(change)


def quantize_program_tables(program: TorchProgram, value: int) -> None:
    """Quantize every embedding table of a PyTorch program in place: 8 bits with one scale per row."""
    if value != 8:
        raise UnsupportedPrecision(f"embedding_bits: {value}: elements of a PyTorch tensor have at least 8 bits")
    import torch

    def change(node: Any) -> Replacement | None:
        is_look_up = node.target is torch.ops.aten.embedding.default
        table = program.read_constant(node.args[0]) if is_look_up else None
        if table is None or len(table) < FEWEST_ROWS:
            return None
        scale = table.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127  # (rows, 1)
        return widened_rows, (torch.round(table / scale).to(torch.int8), scale, node.args[1])

    program.rewrite(change)


def widened_rows(codes: Tensor, scale: Tensor, ids: Tensor) -> Tensor:
    """Look up and dequantize rows of a table codes (rows, width) × scale (rows, 1)."""
    return codes[ids].to(scale.dtype) * scale[ids]


def _look_up_rows(view: OnnxGraph, node: Node, table: np.ndarray, bits: int) -> list[Node]:
    """Look up the codes and the scale of each row and multiply them."""
    if bits != 8:
        raise UnsupportedPrecision(f"embedding_bits: {bits}: standard operators have at least 8 bits up to opset 20")
    base = node.output[0]
    scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12) / 127  # (rows, 1)
    codes = view.add_constant(f"{base}_t8", np.clip(np.round(table / scale), -127, 127).astype(np.int8))
    scales = view.add_constant(f"{base}_t8_scale", scale.astype(np.float32))
    return [
        helper.make_node("Gather", [codes, node.input[1]], [f"{base}_codes"]),
        helper.make_node("Cast", [f"{base}_codes"], [f"{base}_wide"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [scales, node.input[1]], [f"{base}_scale"]),
        helper.make_node("Mul", [f"{base}_wide", f"{base}_scale"], list(node.output)),
    ]


def _look_up_blocks(view: OnnxGraph, node: Node, table: np.ndarray, bits: int) -> Node:
    """Look up rows by onnxruntime's GatherBlockQuantized."""
    base = node.output[0]
    rows, width = table.shape
    block = max(16, min(BLOCK, 1 << (width - 1).bit_length()))
    blocks = quantize_blocks(table, bits, block)
    packed = blocks.packed.reshape(rows, -1)[:, : -(-width * bits // 8)]  # without the padding of the last block
    view.declare_domain("com.microsoft")
    inputs = [
        view.add_constant(f"{base}_t{bits}", packed),
        node.input[1],
        view.add_constant(f"{base}_t{bits}_scale", blocks.scales),
        view.add_constant(f"{base}_t{bits}_zero", blocks.zeros),
    ]
    attributes: dict[str, Any] = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
    return helper.make_node("GatherBlockQuantized", inputs, list(node.output), domain="com.microsoft", **attributes)
