"""Decide from a file's bytes alone, before any runtime opens it, whether it is a model that may run here.

An ONNX file can name other files, nest graphs without end, and claim shapes that no memory holds. Exported models do none of
that, so the agent rejects it: external data, sub-graphs, functions, operators that are not on a list, tensors whose
numbers are not in the file. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path

from autocompress.benchmarking.agent.errors import RequestRejected
from autocompress.benchmarking.agent.protobuf_wire import (
    MalformedMessage,
    Value,
    as_bytes,
    count_integers,
    read_fields,
    read_integers,
)

MAX_OPERATORS = MAX_TENSORS = 20_000
MAX_NAME_BYTES = 1_000
MAX_DIMENSION, MAX_DIMENSIONS = 1 << 31, 16
DATA_TYPE_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 21: 4, 22: 4, 25: 2, 26: 2,
}  # fmt: skip
OPERATORS = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "CumSum", "DequantizeLinear",
        "Div", "DynamicQuantizeLinear", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Gather", "Gelu", "Gemm",
        "Greater", "GreaterOrEqual", "Identity", "LayerNormalization", "Less", "LessOrEqual", "Log", "MatMul",
        "MatMulInteger", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad", "Pow", "QuantizeLinear", "Range",
        "Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid", "Slice",
        "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze",
        "Where",
    }
)  # fmt: skip
MICROSOFT_OPERATORS = frozenset({"MatMulNBits", "GatherBlockQuantized"})
OPERATORS_OF_DOMAIN = {"": OPERATORS, "ai.onnx": OPERATORS, "com.microsoft": MICROSOFT_OPERATORS}

MODEL_GRAPH, MODEL_TRAINING, MODEL_FUNCTIONS = 7, 20, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE_INITIALIZER = 1, 5, 15
NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE_TENSORS = (5, 10), (6, 11), (22, 23)  # one, and a list
TENSOR_DIMENSIONS, TENSOR_DATA_TYPE, TENSOR_RAW_DATA, TENSOR_EXTERNAL_DATA, TENSOR_LOCATION = 1, 2, 9, 13, 14
TENSOR_FIXED_DATA = {4: 32, 10: 64}  # float_data, double_data: bits of one number
TENSOR_VARINT_DATA = (5, 7, 11)  # int32_data, int64_data, uint64_data


@dataclass
class _Counts:
    """The operators and tensors of a model that were counted so far."""

    operators: int = 0
    tensors: int = 0


def check_model(path: Path) -> None:
    """Raise RequestRejected where the file is not a model that may run here."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise RequestRejected("the file is empty") from None
    try:
        _check_model(memoryview(data))  # the map is closed with the last view of it
    except MalformedMessage as error:
        raise RequestRejected(f"the file is not an ONNX model: {error}") from None


def _check_model(view: memoryview) -> None:
    counts, graphs = _Counts(), 0
    for number, value in read_fields(view):
        if number == MODEL_GRAPH:
            graphs += 1
            _check_graph(as_bytes(value), counts)
        elif number in (MODEL_TRAINING, MODEL_FUNCTIONS):
            raise RequestRejected("the model has functions or training information; export it without them")
    if graphs != 1 or not counts.operators:
        raise RequestRejected(f"the file is not an ONNX model: it has {graphs} graphs and {counts.operators} operators")


def _check_graph(view: memoryview, counts: _Counts) -> None:
    counts.operators += sum(number == GRAPH_NODE for number, _ in read_fields(view))
    if counts.operators > MAX_OPERATORS:
        raise RequestRejected(f"the model has {counts.operators:,} operators; at most {MAX_OPERATORS:,} are allowed")
    for number, value in read_fields(view):
        if number == GRAPH_NODE:
            _check_node(as_bytes(value), counts)
        elif number == GRAPH_INITIALIZER:
            _check_tensor(as_bytes(value), counts)
        elif number == GRAPH_SPARSE_INITIALIZER:
            raise RequestRejected("the model has sparse tensors, which are not allowed")


def _check_node(view: memoryview, counts: _Counts) -> None:
    operator = domain = ""
    for number, value in read_fields(view):
        if number == NODE_OPERATOR:
            operator = _read_name(value)
        elif number == NODE_DOMAIN:
            domain = _read_name(value)
        elif number == NODE_ATTRIBUTE:
            _check_attribute(as_bytes(value), counts)
    if operator not in OPERATORS_OF_DOMAIN.get(domain, ()):
        name = f"{domain}.{operator}" if domain else operator
        raise RequestRejected(f"the operator {name or '(without a name)'} is not allowed")


def _check_attribute(view: memoryview, counts: _Counts) -> None:
    for number, value in read_fields(view):
        if number in ATTRIBUTE_TENSORS:
            _check_tensor(as_bytes(value), counts)
        elif number in ATTRIBUTE_GRAPHS:
            raise RequestRejected("the model has graphs within graphs, which are not allowed")
        elif number in ATTRIBUTE_SPARSE_TENSORS:
            raise RequestRejected("the model has sparse tensors, which are not allowed")


def _check_tensor(view: memoryview, counts: _Counts) -> None:
    """Check that the file holds every number of the shape that a tensor claims."""
    counts.tensors += 1
    if counts.tensors > MAX_TENSORS:
        raise RequestRejected(f"the model has more than {MAX_TENSORS:,} tensors")
    shape, data_type = _read_shape_and_type(view)
    if data_type not in DATA_TYPE_BITS:
        raise RequestRejected(f"a tensor has the data type {data_type}, which is not allowed")
    if any(not 0 <= size < MAX_DIMENSION for size in shape):
        raise RequestRejected(f"a tensor claims the shape {shape}; each size must be 0 to {MAX_DIMENSION - 1:,}")
    stored_bits = _count_stored_bits(view, data_type)
    if prod(shape) * DATA_TYPE_BITS[data_type] > stored_bits + 7:
        raise RequestRejected(f"a tensor claims the shape {shape}, but the file holds {stored_bits // 8:,} bytes of it")


def _read_shape_and_type(view: memoryview) -> tuple[tuple[int, ...], int]:
    shape: list[int] = []
    data_type = 0
    for number, value in read_fields(view):
        if number == TENSOR_DIMENSIONS:
            shape += read_integers(value, MAX_DIMENSIONS + 1)
            if len(shape) > MAX_DIMENSIONS:
                raise RequestRejected(f"a tensor has more than {MAX_DIMENSIONS} dimensions")
        elif number == TENSOR_DATA_TYPE:
            data_type = value if isinstance(value, int) else 0
        elif number == TENSOR_EXTERNAL_DATA or (number == TENSOR_LOCATION and value != 0):
            raise RequestRejected("a tensor is stored in another file; store all data in the model itself")
    return tuple(shape), data_type


def _count_stored_bits(view: memoryview, data_type: int) -> int:
    bits = 0
    for number, value in read_fields(view):
        if number == TENSOR_RAW_DATA:
            bits += 8 * len(as_bytes(value))
        elif number in TENSOR_FIXED_DATA:
            bits += 8 * len(value) if isinstance(value, memoryview) else TENSOR_FIXED_DATA[number]
        elif number in TENSOR_VARINT_DATA:
            bits += DATA_TYPE_BITS[data_type] * count_integers(value)
    return bits


def _read_name(value: Value) -> str:
    name = as_bytes(value)
    if len(name) > MAX_NAME_BYTES:
        raise RequestRejected(f"a name has {len(name):,} bytes; at most {MAX_NAME_BYTES:,} are allowed")
    return bytes(name).decode("utf-8", "replace")
