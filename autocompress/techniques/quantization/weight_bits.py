"""Store and multiply the weight matrices in fewer bits: 16 (size only), 8 (int8 activations, too), 4 and 2 (block-wise)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from autocompress.core.errors import UsageError
from autocompress.formats.onnx_graph import Node, OnnxGraph
from autocompress.formats.target_format import ONNXRUNTIME_FORMAT, Ranges, TargetFormat, UnsupportedPrecision
from autocompress.techniques.quantization._blocks import quantize_blocks

VERSION = 1
VALUES = (32, 16, 8, 4, 2)
BLOCK = 128  # weights that share one scale, at 4 bits
BLOCK_2_BITS = 32  # four levels need finer scales
if TYPE_CHECKING:
    from torch import Tensor

    from autocompress.formats.torch_export import TorchProgram

FEWEST_COLUMNS = (
    16  # a classifier of a few labels is no matrix: nothing to gain, and its rounding goes straight to the logits
)


def apply(graph: onnx.ModelProto, value: int, target_format: TargetFormat = ONNXRUNTIME_FORMAT) -> None:
    """Quantize every weight matrix of the graph in place. Tables are `embedding_bits`' business."""
    if value not in VALUES[1:]:
        raise UsageError(f"weight_bits: {value} is not one of {', '.join(map(str, VALUES))}")
    if value < 8 and not target_format.contrib:
        raise UnsupportedPrecision("standard operators hold no fewer than 8 bits up to opset 20")
    view = OnnxGraph(graph)
    constants = view.constants()
    eight = _int8 if target_format.ranges is None else _Int8(target_format.ranges)
    steps = {16: _half, 8: eight, 4: _four_bits, 2: _two_bits}

    def change(node: Node) -> list[Node] | None:
        weight = _weight_of(node, constants)
        return None if weight is None else steps[value](view, node, weight)

    view.rewrite(change)


def apply_program(program: TorchProgram, value: int) -> None:
    """Likewise, of a PyTorch program: 16 bits are bfloat16 products, 8 are int8 products with activations quantized by row."""
    steps = {16: _bfloat16, 8: _int8_product}
    if value not in VALUES[1:]:
        raise UsageError(f"weight_bits: {value} is not one of {', '.join(map(str, VALUES))}")
    if value not in steps:
        raise UnsupportedPrecision("PyTorch's own products hold no fewer than 8 bits on every device")

    def change(node: Any) -> tuple[Any, tuple[Any, ...]] | None:
        weight = program.weight(node)
        if weight is None or weight.shape[1] < FEWEST_COLUMNS:
            return None
        bias = program.constant(node.args[2]) if len(node.args) > 2 else None
        return steps[value](node.args[0], weight, bias)

    program.rewrite(change)


def activation_ranges(graph: onnx.ModelProto, rows: Iterable[Mapping[str, np.ndarray]]) -> Ranges:
    """The largest magnitude of each tensor that a matrix of this fp32 graph multiplies, on some rows of inputs. onnxruntime
    computes them."""
    import onnxruntime

    watched = onnx.ModelProto.FromString(graph.SerializeToString())
    view = OnnxGraph(watched)
    constants = view.constants()
    names = sorted({node.input[0] for node in view.nodes if _weight_of(node, constants) is not None})
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = [entry.name for entry in session.get_inputs()]
    seen = [session.run(names, {name: row[name] for name in inputs}) for row in rows]
    if not seen:
        raise ValueError("activation_ranges: some rows are needed, but there are none")
    return {
        name: max(float(np.abs(x).max()) for x in found)
        for name, found in zip(names, zip(*seen, strict=True), strict=True)
    }


def _weight_of(node: Node, constants: dict[str, np.ndarray]) -> np.ndarray | None:
    """The constant (rows, columns) matrix that a MatMul or Gemm multiplies by, if it is worth quantizing."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in constants:
        return None
    weight = constants[node.input[1]]
    if node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
        weight = weight.T
    return weight if weight.ndim == 2 and weight.shape[1] >= FEWEST_COLUMNS else None


def _with_bias(node: Node, product: str, tail: list[Node]) -> list[Node]:
    """Close with the node's own output: a Gemm's bias is added, a MatMul is only renamed."""
    if node.op_type == "Gemm" and len(node.input) > 2:
        return [*tail, helper.make_node("Add", [product, node.input[2]], list(node.output))]
    tail[-1].output[0] = node.output[0]
    return tail


def _half(view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
    """Stored in 16 bits, widened when the session opens (constant folding): half the size, the same speed."""
    name = view.add_constant(f"{node.output[0]}_w16", weight.astype(np.float16))
    wide, product = f"{node.output[0]}_w32", f"{node.output[0]}_product"
    cast = helper.make_node("Cast", [name], [wide], to=onnx.TensorProto.FLOAT)
    return _with_bias(node, product, [cast, helper.make_node("MatMul", [node.input[0], wide], [product])])


def _int8(view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
    """Activations quantized at each call (one scale a tensor), weights symmetric with one scale a column.

    onnxruntime fuses the four operators into one when the session opens.
    """
    base, source = node.output[0], node.input[0]
    q_name, s_name, z_name = _columns(view, base, weight)
    x, x_scale, x_zero = (f"{base}_x8", f"{base}_x8_scale", f"{base}_x8_zero")
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [source], [x, x_scale, x_zero]),
        helper.make_node("MatMulInteger", [x, q_name, x_zero, z_name], [f"{base}_i32"]),
        helper.make_node("Cast", [f"{base}_i32"], [f"{base}_f32"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [x_scale, s_name], [f"{base}_scale"]),
        helper.make_node("Mul", [f"{base}_f32", f"{base}_scale"], [f"{base}_product"]),
    ]
    return _with_bias(node, f"{base}_product", nodes)


def _columns(view: OnnxGraph, base: str, weight: np.ndarray) -> tuple[str, str, str]:
    """The constants of a symmetric int8 matrix with one scale a column: codes, scales, zeros."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127  # (columns,)
    return (
        view.add_constant(f"{base}_w8", np.clip(np.round(weight / scale), -127, 127).astype(np.int8)),
        view.add_constant(f"{base}_w8_scale", scale.astype(np.float32)),
        view.add_constant(f"{base}_w8_zero", np.zeros(len(scale), np.int8)),
    )


class _Int8:
    """Activations quantized by fixed ranges (int8, symmetric, one scale a tensor), weights as in `_int8`: quantize–dequantize
    pairs, which the runtime fuses into integer products when it opens the model. With a zero point other than 0 OpenVINO
    takes a slower product (studies/LOG.md)."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._done: set[str] = set()  # inputs that are quantized already: several matrices may multiply one

    def __call__(self, view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
        base, source = node.output[0], node.input[0]
        wide, product = f"{base}_w32", f"{base}_product"
        nodes = [] if source in self._done else self._quantized(view, source)
        nodes += [
            helper.make_node("DequantizeLinear", [*_columns(view, base, weight)], [wide], axis=1),
            helper.make_node("MatMul", [f"{source}_x32", wide], [product]),
        ]
        return _with_bias(node, product, nodes)

    def _quantized(self, view: OnnxGraph, source: str) -> list[Node]:
        self._done.add(source)
        scale = max(self._ranges[source] / 127, 1e-9)
        scale_name = view.add_constant(f"{source}_x8_scale", np.array(scale, np.float32))
        zero_name = view.add_constant(f"{source}_x8_zero", np.array(0, np.int8))
        return [
            helper.make_node("QuantizeLinear", [source, scale_name, zero_name], [f"{source}_x8"]),
            helper.make_node("DequantizeLinear", [f"{source}_x8", scale_name, zero_name], [f"{source}_x32"]),
        ]


def _four_bits(view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
    return _blockwise(view, node, weight, 4, BLOCK)


def _two_bits(view: OnnxGraph, node: Node, weight: np.ndarray) -> list[Node]:
    return _blockwise(view, node, weight, 2, BLOCK_2_BITS)


def _blockwise(view: OnnxGraph, node: Node, weight: np.ndarray, bits: int, block: int) -> list[Node]:
    """onnxruntime's MatMulNBits with int8 activations (accuracy_level 4)."""
    base, (rows, columns) = node.output[0], weight.shape
    block = max(16, min(block, 1 << (rows - 1).bit_length()))  # a narrow matrix is not padded to a wide block
    blocks = quantize_blocks(weight.T, bits, block)
    view.need_domain("com.microsoft")
    product = f"{base}_product"
    inputs = [
        node.input[0],
        view.add_constant(f"{base}_w{bits}", blocks.packed),  # (columns, blocks, block × bits ÷ 8)
        view.add_constant(f"{base}_w{bits}_scale", blocks.scales.reshape(-1)),
        view.add_constant(f"{base}_w{bits}_zero", blocks.zeros.reshape(-1)),
    ]
    attributes: dict[str, Any] = {"K": rows, "N": columns, "bits": bits, "block_size": block, "accuracy_level": 4}
    matmul = helper.make_node("MatMulNBits", inputs, [product], domain="com.microsoft", **attributes)
    return _with_bias(node, product, [matmul])


def _bfloat16(x: Any, weight: Tensor, bias: Tensor | None) -> tuple[Any, tuple[Any, ...]]:
    import torch

    return bfloat16_product, (x, weight.to(torch.bfloat16), bias)


def _int8_product(x: Any, weight: Tensor, bias: Tensor | None) -> tuple[Any, tuple[Any, ...]]:
    import torch

    scale = weight.abs().amax(0).clamp_min(1e-12) / 127  # (columns,)
    return int8_product, (x, torch.round(weight / scale).to(torch.int8), scale, bias)


def bfloat16_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (…, rows) times a weight (rows, columns), summed in fp32 by the kernel."""
    product = (x.to(weight.dtype) @ weight).to(x.dtype)
    return product if bias is None else product + bias


def int8_product(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """x (…, rows) times codes (rows, columns) × scale (columns,), each row of x quantized by its largest value."""
    import torch

    rows = x.reshape(-1, x.shape[-1])
    step = rows.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127  # (rows of x, 1)
    summed = torch._int_mm(torch.round(rows / step).to(torch.int8), codes)
    product = (summed.to(x.dtype) * step * scale).reshape(*x.shape[:-1], codes.shape[1])
    return product if bias is None else product + bias
