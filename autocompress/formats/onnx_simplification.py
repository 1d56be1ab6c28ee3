"""Remove operators from exported ONNX graphs that a default session would run at every call.

Operators, not arithmetic, take most of a forward pass of 0.3 ms: each operator less saves 1 to 3 µs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper

from autocompress.formats.onnx_graph import Node, OnnxGraph

Constants = Mapping[str, np.ndarray]  # name -> value
Producers = Mapping[str, Node]  # output name -> node


def simplify_graph(model: onnx.ModelProto) -> None:
    """Apply the rewrites that every exported graph gets. None changes a result by more than rounding."""
    simplify_reshapes(model)
    replace_residual_adds(model)
    replace_mask_arithmetic(model)
    replace_position_ranges(model)
    read_shared_matrices(model)


def simplify_reshapes(model: onnx.ModelProto) -> None:
    """Reshape by `[0, -1, heads, size]`, where 0 copies the input's dimension, instead of computing the batch at each call.

    This changes only reshapes to or from (batch, sequence, heads × size): those that compute only the first one or two
    dimensions.
    """
    graph = OnnxGraph(model)
    constants, producers = graph.read_constants(), graph.map_producers()

    def change(node: Node) -> list[Node] | None:
        if node.op_type != "Reshape" or node.input[1] in constants:
            return None
        shape = list(_read_shape(producers[node.input[1]], constants, producers))
        computed = [axis for axis, dimension in enumerate(shape) if dimension is None]
        if computed not in ([0], [0, 1]) or len(shape) < 3 or -1 in shape[2:-1]:
            return None
        fixed = np.array([0 if dimension is None else dimension for dimension in shape], np.int64)
        name = graph.add_constant(f"{node.output[0]}_shape", fixed)
        return [helper.make_node("Reshape", [node.input[0], name], list(node.output))]

    graph.rewrite(change)


def _read_shape(node: Node, constants: Constants, producers: Producers) -> Iterator[int | None]:
    """Yield the dimensions of a shape that Concat produces: numbers, and None where computed."""
    if node.op_type != "Concat":
        yield from (None, None, None)  # unknown: reshapes with three computed dimensions are never changed
        return
    for name in node.input:
        if name in constants:
            yield from (int(dimension) for dimension in constants[name].reshape(-1))
        elif producers[name].op_type == "Slice" and all(bound in constants for bound in producers[name].input[1:]):
            start, end = (int(constants[bound].reshape(-1)[0]) for bound in producers[name].input[1:3])
            yield from (None for _ in range(max(0, end - start)))
        else:
            yield None


def replace_residual_adds(model: onnx.ModelProto) -> None:
    """Add the residual by `Sum`, so that onnxruntime's SkipLayerNormFusion, which is on by default, does not match.

    In an export of transformers' forward pass that fusion cost a small int8 model 0.12 of its 0.40 ms. In an export of
    `Forward` the difference was too small to measure (studies/LOG.md).
    """
    graph = OnnxGraph(model)
    constants = graph.read_constants()
    normalized = {node.input[0] for node in graph.nodes if node.op_type == "LayerNormalization"}

    def change(node: Node) -> list[Node] | None:
        if node.op_type == "Add" and node.output[0] in normalized and not any(name in constants for name in node.input):
            return [helper.make_node("Sum", list(node.input), list(node.output))]
        return None

    graph.rewrite(change)


def replace_mask_arithmetic(model: onnx.ModelProto) -> None:
    """Convert a keep-mask to an additive mask by one look-up instead of two casts, a subtraction and a product.

    Two Unsqueeze operators become one. A keep-mask contains only 0 and 1.
    """
    graph = OnnxGraph(model)
    constants, producers = graph.read_constants(), graph.map_producers()
    masks = {value.name for value in model.graph.input}

    def change(node: Node) -> list[Node] | None:
        if node.op_type == "Mul" and node.input[1] in constants:
            return _look_up_mask(graph, node, masks, constants, producers)
        if node.op_type == "Unsqueeze" and _is_at_axis_1(node, constants):
            return _merge_unsqueezes(graph, node, constants, producers)
        return None

    graph.rewrite(change)


def _look_up_mask(
    graph: OnnxGraph, product: Node, masks: set[str], constants: Constants, producers: Producers
) -> list[Node] | None:
    """Replace (mask − a) × b by a look-up in a table of two entries; None where the product is none of a mask."""
    factor, difference = constants[product.input[1]], producers.get(product.input[0])
    if difference is None or difference.op_type != "Sub" or difference.input[1] not in constants or factor.size != 1:
        return None
    mask = _skip_casts(difference.input[0], producers)
    if mask not in masks:
        return None
    table = (np.array([0.0, 1.0]) - constants[difference.input[1]].reshape(-1)) * factor.reshape(-1)
    name = graph.add_constant(f"{product.output[0]}_of", table.astype(factor.dtype))
    return [helper.make_node("Gather", [name, mask], list(product.output))]


def _merge_unsqueezes(graph: OnnxGraph, outer: Node, constants: Constants, producers: Producers) -> list[Node] | None:
    """Replace two Unsqueeze operators at axis 1 by one; None where the input is not such an operator."""
    inner = producers.get(outer.input[0])
    if inner is None or inner.op_type != "Unsqueeze" or not _is_at_axis_1(inner, constants):
        return None
    axes = graph.add_constant(f"{outer.output[0]}_axes", np.array([1, 2], np.int64))
    return [helper.make_node("Unsqueeze", [inner.input[0], axes], list(outer.output))]


def _skip_casts(name: str, producers: Producers) -> str:
    """Return the name of the value before any casts."""
    while name in producers and producers[name].op_type == "Cast":
        name = producers[name].input[0]
    return name


def _is_at_axis_1(node: Node, constants: Constants) -> bool:
    return node.input[1] in constants and constants[node.input[1]].reshape(-1).tolist() == [1]


def replace_position_ranges(model: onnx.ModelProto) -> None:
    """Slice the position ids 0, 1, … of the tokens from a constant instead of computing them at each call."""
    graph = OnnxGraph(model)
    constants, producers = graph.read_constants(), graph.map_producers()

    def change(node: Node) -> list[Node] | None:
        if node.op_type != "Gather" or node.input[0] not in constants or node.input[1] not in producers:
            return None
        ids = producers[node.input[1]]
        source = _find_length_source(ids, constants, producers) if ids.op_type == "Range" else None
        if source is None:
            return None
        base, rows = node.output[0], len(constants[node.input[0]])
        numbers = graph.add_constant(f"{base}_numbers", np.arange(rows, dtype=np.int64))
        zero = graph.add_constant(f"{base}_first", np.zeros(1, np.int64))
        return [
            helper.make_node("Shape", [source], [f"{base}_length"], start=1, end=2),
            helper.make_node("Slice", [numbers, zero, f"{base}_length", zero], [f"{base}_places"]),
            helper.make_node("Gather", [node.input[0], f"{base}_places"], list(node.output)),
        ]

    graph.rewrite(change)


def read_shared_matrices(model: onnx.ModelProto) -> None:
    """Let every use of a shared layer read its matrices themselves; the exporter puts an Identity before all but the first."""
    graph = OnnxGraph(model)
    initializers, producers = {tensor.name for tensor in model.graph.initializer}, graph.map_producers()

    def change(node: Node) -> list[Node] | None:
        source = producers.get(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
        if source is None or source.op_type != "Identity" or source.input[0] not in initializers:
            return None
        direct = onnx.NodeProto.FromString(node.SerializeToString())
        direct.input[1] = source.input[0]
        return [direct]

    graph.rewrite(change)


def _find_length_source(ids: Node, constants: Constants, producers: Producers) -> str | None:
    """Return the value whose second dimension limits a Range from 0 in steps of 1; None for any other Range."""
    start, limit, step = ids.input
    if start not in constants or step not in constants or (int(constants[start]), int(constants[step])) != (0, 1):
        return None
    dimension = producers.get(_skip_casts(limit, producers))
    if dimension is None or dimension.op_type != "Gather" or constants.get(dimension.input[1], np.array(0)) != 1:
        return None
    shape = producers.get(dimension.input[0])
    return shape.input[0] if shape is not None and shape.op_type == "Shape" else None
