"""Is this file a model that may run here? Told from its bytes alone, before any runtime opens it.

An ONNX file can name other files, nest graphs without end, and claim shapes that no memory holds. What we deploy does none
of that, so what does is refused: external data, sub-graphs, functions, operators that are not on a list,
tensors whose numbers are not in the file.
Read as protobuf's wire format (https://protobuf.dev/programming-guides/encoding), so that the
device needs no package for it; field numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from autocompress.core.errors import UsageError

MOST_NODES = MOST_TENSORS = 20_000
MOST_NAME_BYTES = 1_000
MOST_DIMENSION, MOST_DIMENSIONS = 1 << 31, 16
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
BITS = {
    1: 32,
    2: 8,
    3: 8,
    4: 16,
    5: 16,
    6: 32,
    7: 64,
    9: 8,
    10: 16,
    11: 64,
    12: 32,
    13: 64,
    16: 16,
    21: 4,
    22: 4,
    25: 2,
    26: 2,
}
TYPED = {4: 32, 10: 64}  # float_data, double_data: bits of one number; the others are varints
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
CONTRIBUTED = frozenset({"MatMulNBits", "GatherBlockQuantized"})  # of the domain com.microsoft


class RequestRejected(UsageError):
    """The file is not a model that may run here; the message says why."""


@dataclass
class ModelContents:
    """What a model holds."""

    operators: Counter[str] = field(default_factory=Counter)
    tensors: int = 0


def check_model(path: Path) -> ModelContents:
    """What the file holds; Refused where it may not run."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise RequestRejected("the file is empty") from None
    return _check(memoryview(data))  # unmapped when nothing looks at it any more


def _check(view: memoryview) -> ModelContents:
    facts, graphs = ModelContents(), 0
    for number, value in _fields(view):
        if number == 7:
            graphs += 1
            _graph(_message(value), facts)
        elif number in (20, 25):
            raise RequestRejected("the model brings functions or training of its own; export it without")
    if graphs != 1 or not facts.operators:
        raise RequestRejected("the file holds no ONNX graph")
    return facts


def _graph(view: memoryview, facts: ModelContents) -> None:
    for number, value in _fields(view):
        if number == 1:
            _node(_message(value), facts)
        elif number == 5:
            _tensor(_message(value), facts)
        elif number == 15:
            raise RequestRejected("sparse tensors are not run here")


def _node(view: memoryview, facts: ModelContents) -> None:
    kind = domain = ""
    for number, value in _fields(view):
        if number == 4:
            kind = _text(value)
        elif number == 7:
            domain = _text(value)
        elif number == 5:
            _attribute(_message(value), facts)
    known = CONTRIBUTED if domain == "com.microsoft" else OPERATORS if domain in ("", "ai.onnx") else frozenset()
    if kind not in known:
        raise RequestRejected(f"the operator {domain + '.' if domain else ''}{kind or '(none)'} is not run here")
    facts.operators[kind] += 1
    if facts.operators.total() > MOST_NODES:
        raise RequestRejected(f"at most {MOST_NODES} operators must hold")


def _attribute(view: memoryview, facts: ModelContents) -> None:
    for number, value in _fields(view):
        if number in (5, 10):
            _tensor(_message(value), facts)
        elif number in (6, 11):
            raise RequestRejected("graphs within graphs are not run here")
        elif number in (22, 23):
            raise RequestRejected("sparse tensors are not run here")


def _tensor(view: memoryview, facts: ModelContents) -> None:
    """Every number that the shape claims must be in the file."""
    dimensions: list[int] = []
    kind, held = 0, 0
    for number, value in _fields(view):
        if number == 1:
            dimensions += _varints(value)
            if len(dimensions) > MOST_DIMENSIONS:
                raise RequestRejected(f"at most {MOST_DIMENSIONS} dimensions of a tensor must hold")
        elif number == 2:
            kind = int(value) if isinstance(value, int) else 0
        elif number == 13 or (number == 14 and value != 0):
            raise RequestRejected("a tensor lies in another file; put all data into the model itself")
        elif number == 9:
            held += 8 * len(_message(value))
        elif number in TYPED:
            held += 8 * len(value) if isinstance(value, memoryview) else TYPED[number]
        elif number in (5, 7, 11):
            held += BITS.get(kind, 64) * _count(value)
    facts.tensors += 1
    if facts.tensors > MOST_TENSORS:
        raise RequestRejected(f"at most {MOST_TENSORS} tensors must hold")
    if kind not in BITS:
        raise RequestRejected(f"tensors of the data type {kind} are not run here")
    if any(not 0 <= size < MOST_DIMENSION for size in dimensions):
        raise RequestRejected(f"a tensor claims the shape {tuple(dimensions)}")
    if prod(dimensions) * BITS[kind] > held + 7:
        raise RequestRejected(
            f"a tensor claims the shape {tuple(dimensions)}, but the file holds {held // 8} bytes of it"
        )


# ---- protobuf's wire format ------------------------------------------------------------------------------------------


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message."""
    place = 0
    while place < len(view):
        key, place = _varint(view, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(view, place)
            yield number, value
            continue
        if kind == BYTES:
            size, place = _varint(view, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise RequestRejected("the file is no ONNX model")
        if number == 0 or size > len(view) - place:
            raise RequestRejected("the file is no ONNX model, or it is cut off")
        yield number, view[place : place + size]
        place += size


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(view):
            raise RequestRejected("the file is no ONNX model, or it is cut off")
        byte = view[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value if value < 1 << 63 else value - (1 << 64), place
    raise RequestRejected("the file is no ONNX model")


def _varints(value: int | memoryview) -> list[int]:
    """One number, or a packed list of them, of which those beyond the most dimensions are left out."""
    if isinstance(value, int):
        return [value]
    found: list[int] = []
    place = 0
    while place < len(value) and len(found) <= MOST_DIMENSIONS:
        number, place = _varint(value, place)
        found.append(number)
    return found


def _count(value: int | memoryview) -> int:
    """How many numbers there are in a packed list."""
    return 1 if isinstance(value, int) else int(np.count_nonzero(np.frombuffer(value, np.uint8) < 128))


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise RequestRejected("the file is no ONNX model")
    return value


def _text(value: int | memoryview) -> str:
    text = _message(value)
    if len(text) > MOST_NAME_BYTES:
        raise RequestRejected(f"a name has {len(text)} bytes; at most {MOST_NAME_BYTES} must hold")
    return bytes(text).decode("utf-8", "replace")
