"""Small rewrites of ONNX graphs: what a runtime's default session would otherwise pay for at every call.

A 0.3 ms forward pass is mostly operators, not arithmetic; each operator left out is 1 to 3 µs saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

Node = onnx.NodeProto


class OnnxGraph:
    """A view of an ONNX graph by names; edits go straight to the protobuf."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.proto = model.graph
        self.model = model

    @property
    def nodes(self) -> list[Node]:
        """The nodes, in order of execution."""
        return list(self.proto.node)

    def producers(self) -> dict[str, Node]:
        """Output name -> the node that makes it."""
        return {output: node for node in self.proto.node for output in node.output}

    def uses(self) -> Counter[str]:
        """How many inputs read each value; graph outputs count."""
        reads = Counter(name for node in self.proto.node for name in node.input)
        reads.update(output.name for output in self.proto.output)
        return reads

    def constants(self) -> dict[str, np.ndarray]:
        """Initializers and Constant nodes, by name."""
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.proto.initializer}
        for node in self.proto.node:
            if node.op_type == "Constant":
                values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        return values

    def add_constant(self, name: str, value: np.ndarray) -> str:
        """A new initializer; its name."""
        self.proto.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def need_domain(self, domain: str, version: int = 1) -> None:
        """Declare an operator set, once."""
        if all(entry.domain != domain for entry in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(domain, version))

    def rewrite(self, change: Callable[[Node], list[Node] | None]) -> None:
        """Replace each node by what `change` gives for it; None keeps it. Then drop what nothing reads any more."""
        nodes: list[Node] = []
        for node in self.nodes:
            replacement = change(node)
            nodes.extend([node] if replacement is None else replacement)
        del self.proto.node[:]
        self.proto.node.extend(nodes)
        self._drop_unread()

    def _drop_unread(self) -> None:
        while True:
            reads = self.uses()
            kept = [node for node in self.proto.node if any(reads[output] for output in node.output)]
            if len(kept) == len(self.proto.node):
                break
            del self.proto.node[:]
            self.proto.node.extend(kept)
        used = [tensor for tensor in self.proto.initializer if reads[tensor.name]]
        del self.proto.initializer[:]
        self.proto.initializer.extend(used)


def tidy(model: onnx.ModelProto) -> None:
    """The rewrites that every exported graph gets. None changes a result by more than rounding."""
    keep_leading_dimensions(model)
    shield_residuals(model)
    look_up_masks(model)
    cut_positions(model)


def keep_leading_dimensions(model: onnx.ModelProto) -> None:
    """Reshape by `[0, -1, heads, size]`, where 0 means "as the input", instead of computing the batch at each call.

    Only reshapes to or from (batch, sequence, heads × size) are touched: those whose shape is computed in its first two
    places only.
    """
    graph = OnnxGraph(model)
    constants, producers = graph.constants(), graph.producers()

    def change(node: Node) -> list[Node] | None:
        if node.op_type != "Reshape" or node.input[1] in constants:
            return None
        shape = list(_shape_entries(producers[node.input[1]], constants, producers))
        computed = [place for place, entry in enumerate(shape) if entry is None]
        if computed not in ([0], [0, 1]) or len(shape) < 3 or -1 in shape[2:-1]:
            return None
        fixed = np.array([0 if entry is None else entry for entry in shape], np.int64)
        name = graph.add_constant(f"{node.output[0]}_shape", fixed)
        return [helper.make_node("Reshape", [node.input[0], name], list(node.output))]

    graph.rewrite(change)


def _shape_entries(node: Node, constants: dict[str, np.ndarray], producers: dict[str, Node]) -> Iterator[int | None]:
    """Entries of a shape made by Concat: numbers, and None where computed."""
    if node.op_type != "Concat":
        yield from (None, None, None)  # not understood: three computed places are never touched
        return
    for name in node.input:
        if name in constants:
            yield from (int(entry) for entry in constants[name].reshape(-1))
        elif producers[name].op_type == "Slice" and all(n in constants for n in producers[name].input[1:]):
            start, end = (int(constants[n].reshape(-1)[0]) for n in producers[name].input[1:3])
            yield from (None for _ in range(max(0, end - start)))
        else:
            yield None


def shield_residuals(model: onnx.ModelProto) -> None:
    """Add the residual by `Sum`, so that onnxruntime's SkipLayerNormFusion, on by default, does not match.

    In an export of the stock forward pass that fusion cost a small int8 model 0.12 of its 0.40 ms; in ours it made no
    difference that could be measured (studies/LOG.md).
    """
    graph = OnnxGraph(model)
    constants = graph.constants()
    normed = {node.input[0] for node in graph.nodes if node.op_type == "LayerNormalization"}

    def change(node: Node) -> list[Node] | None:
        if node.op_type == "Add" and node.output[0] in normed and not any(name in constants for name in node.input):
            return [helper.make_node("Sum", list(node.input), list(node.output))]
        return None

    graph.rewrite(change)


def look_up_masks(model: onnx.ModelProto) -> None:
    """From a keep-mask to what is added to scores by one look-up, instead of two casts, a subtraction and a product; and one
    Unsqueeze instead of two. A mask holds 0 and 1."""
    graph = OnnxGraph(model)
    constants, producers = graph.constants(), graph.producers()
    masks = {entry.name for entry in model.graph.input}

    def change(node: Node) -> list[Node] | None:
        if node.op_type == "Mul" and node.input[1] in constants:
            factor, less = constants[node.input[1]], producers.get(node.input[0])
            if less is None or less.op_type != "Sub" or less.input[1] not in constants or factor.size != 1:
                return None
            mask = _behind_casts(less.input[0], producers)
            if mask not in masks:
                return None
            table = (np.array([0.0, 1.0]) - constants[less.input[1]].reshape(-1)) * factor.reshape(-1)
            name = graph.add_constant(f"{node.output[0]}_of", table.astype(factor.dtype))
            return [helper.make_node("Gather", [name, mask], list(node.output))]
        if node.op_type == "Unsqueeze" and _is_at_1(node, constants):
            inner = producers.get(node.input[0])
            if inner is not None and inner.op_type == "Unsqueeze" and _is_at_1(inner, constants):
                axes = graph.add_constant(f"{node.output[0]}_axes", np.array([1, 2], np.int64))
                return [helper.make_node("Unsqueeze", [inner.input[0], axes], list(node.output))]
        return None

    graph.rewrite(change)


def _behind_casts(name: str, producers: dict[str, Node]) -> str:
    """What a value was before it was cast, however often."""
    while name in producers and producers[name].op_type == "Cast":
        name = producers[name].input[0]
    return name


def _is_at_1(node: Node, constants: dict[str, np.ndarray]) -> bool:
    return node.input[1] in constants and constants[node.input[1]].reshape(-1).tolist() == [1]


def cut_positions(model: onnx.ModelProto) -> None:
    """The numbers 0, 1, … of the tokens cut from a constant, instead of counted at each call."""
    graph = OnnxGraph(model)
    constants, producers = graph.constants(), graph.producers()

    def change(node: Node) -> list[Node] | None:
        if node.op_type != "Gather" or node.input[0] not in constants or node.input[1] not in producers:
            return None
        count = producers[node.input[1]]
        shape = _length_of(count, constants, producers) if count.op_type == "Range" else None
        if shape is None:
            return None
        base, rows = node.output[0], len(constants[node.input[0]])
        numbers = graph.add_constant(f"{base}_numbers", np.arange(rows, dtype=np.int64))
        zero = graph.add_constant(f"{base}_first", np.zeros(1, np.int64))
        return [
            helper.make_node("Shape", [shape], [f"{base}_length"], start=1, end=2),
            helper.make_node("Slice", [numbers, zero, f"{base}_length", zero], [f"{base}_places"]),
            helper.make_node("Gather", [node.input[0], f"{base}_places"], list(node.output)),
        ]

    graph.rewrite(change)


def _length_of(count: Node, constants: dict[str, np.ndarray], producers: dict[str, Node]) -> str | None:
    """The value whose second dimension a Range counts up to, from 0 in steps of 1; null where it does something else."""
    start, limit, step = count.input
    if not all(name in constants for name in (start, step)) or [int(constants[name]) for name in (start, step)] != [
        0,
        1,
    ]:
        return None
    entry = producers.get(_behind_casts(limit, producers))
    if entry is None or entry.op_type != "Gather" or constants.get(entry.input[1], np.array(0)) != 1:
        return None
    shape = producers.get(entry.input[0])
    return shape.input[0] if shape is not None and shape.op_type == "Shape" else None
