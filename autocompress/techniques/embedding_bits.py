"""Store the embedding tables in fewer bits: each looked-up row is widened on its way in."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from autocompress.errors import UsageError
from autocompress.graph import Graph, Node
from autocompress.techniques._blocks import quantize_blocks

VALUES = (32, 8, 4)
BLOCK = 128  # values of a row that share one scale; blocks of 32 would make a 4-bit table a fifth larger
FEWEST_ROWS = 16  # the two rows of a token-type table are not worth an operator


def apply(graph: onnx.ModelProto, value: int) -> None:
    """Quantize every looked-up table (rows, width) of the graph in place, block-wise along the width.

    onnxruntime's GatherBlockQuantized; block-wise scales keep 4 bits harmless (Dettmers et al. 2022).
    """
    if value not in VALUES[1:]:
        raise UsageError(f"embedding_bits: {value} is not one of {', '.join(map(str, VALUES))}")
    view = Graph(graph)
    constants = view.constants()

    def change(node: Node) -> list[Node] | None:
        table = constants.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.ndim != 2 or table.dtype != np.float32 or len(table) < FEWEST_ROWS:
            return None
        return [_gather(view, node, table, value)]

    view.rewrite(change)


def _gather(view: Graph, node: Node, table: np.ndarray, bits: int) -> Node:
    base = node.output[0]
    rows, width = table.shape
    block = max(16, min(BLOCK, 1 << (width - 1).bit_length()))
    blocks = quantize_blocks(table, bits, block)
    packed = blocks.packed.reshape(rows, -1)[:, : -(-width * bits // 8)]  # the last block may be short, not padded
    view.need_domain("com.microsoft")
    inputs = [
        view.add_constant(f"{base}_t{bits}", packed),
        node.input[1],
        view.add_constant(f"{base}_t{bits}_scale", blocks.scales),
        view.add_constant(f"{base}_t{bits}_zero", blocks.zeros),
    ]
    attributes: dict[str, Any] = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
    return helper.make_node("GatherBlockQuantized", inputs, list(node.output), domain="com.microsoft", **attributes)
