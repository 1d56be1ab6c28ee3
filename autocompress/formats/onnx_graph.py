"""Read and edit an ONNX graph by the names of its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

Node = onnx.NodeProto


class OnnxGraph:
    """A view of an ONNX graph by names; edits change the protobuf itself."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.proto = model.graph
        self.model = model

    @property
    def nodes(self) -> list[Node]:
        """Return the nodes in the order of execution."""
        return list(self.proto.node)

    def map_producers(self) -> dict[str, Node]:
        """Return the node that produces each output name."""
        return {output: node for node in self.proto.node for output in node.output}

    def count_reads(self) -> Counter[str]:
        """Count the inputs that read each value; graph outputs count as reads."""
        reads = Counter(name for node in self.proto.node for name in node.input)
        reads.update(output.name for output in self.proto.output)
        return reads

    def read_constants(self) -> dict[str, np.ndarray]:
        """Return the values of initializers and Constant nodes by name."""
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.proto.initializer}
        for node in self.proto.node:
            if node.op_type == "Constant":
                values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        return values

    def add_constant(self, name: str, value: np.ndarray) -> str:
        """Add an initializer and return its name."""
        self.proto.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def declare_domain(self, domain: str, version: int = 1) -> None:
        """Declare an operator set unless it is declared already."""
        if all(entry.domain != domain for entry in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(domain, version))

    def rewrite(self, change: Callable[[Node], list[Node] | None]) -> None:
        """Replace each node by the nodes that `change` returns, or keep it for None; then remove what nothing reads.

        Nodes that read the same initializer, such as the uses of a shared layer, share the constants that `change` makes of it.
        """
        reads, made = self.count_reads(), _MadeConstants(self.proto)
        initializers = {tensor.name for tensor in self.proto.initializer}
        nodes: list[Node] = []
        for node in self.nodes:
            before = len(self.proto.initializer)
            replacement = change(node)
            if replacement is not None and any(name in initializers and reads[name] > 1 for name in node.input):
                made.share(before, replacement)
            nodes.extend([node] if replacement is None else replacement)
        del self.proto.node[:]
        self.proto.node.extend(nodes)
        self._remove_unread()

    def _remove_unread(self) -> None:
        while True:
            reads = self.count_reads()
            kept = [node for node in self.proto.node if any(reads[output] for output in node.output)]
            if len(kept) == len(self.proto.node):
                break
            del self.proto.node[:]
            self.proto.node.extend(kept)
        read = [tensor for tensor in self.proto.initializer if reads[tensor.name]]
        del self.proto.initializer[:]
        self.proto.initializer.extend(read)


class _MadeConstants:
    """The constants that were made of shared initializers: equal ones are stored once."""

    def __init__(self, proto: onnx.GraphProto) -> None:
        self._proto = proto
        self._names: dict[tuple[int, tuple[int, ...], bytes], str] = {}  # by type, shape and content

    def share(self, start: int, nodes: Sequence[Node]) -> None:
        """Let nodes read earlier constants instead of equal ones among the initializers from `start` on."""
        renamed: dict[str, str] = {}
        for tensor in self._proto.initializer[start:]:
            content = tensor.data_type, tuple(tensor.dims), tensor.raw_data
            renamed[tensor.name] = self._names.setdefault(content, tensor.name)
        for node in nodes:
            for index, name in enumerate(node.input):
                node.input[index] = renamed.get(name, name)
        unread = [index for index in range(start, len(self._proto.initializer))
                  if renamed[self._proto.initializer[index].name] != self._proto.initializer[index].name]  # fmt: skip
        for index in reversed(unread):
            del self._proto.initializer[index]
