"""Read protobuf's wire format (https://protobuf.dev/programming-guides/encoding), so that a device needs no package for it.

A value is a number (varint) or a view of bytes, which may hold a message, a text, a packed list or a fixed-size number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
FIXED_SIZES = {FIXED32: 4, FIXED64: 8}
Value = int | memoryview


class MalformedMessage(ValueError):
    """The bytes are not a protobuf message, or they are cut off."""


def read_fields(view: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the number and the value of each field of a message."""
    index = 0
    while index < len(view):
        key, index = _read_varint(view, index)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, index = _read_varint(view, index)
            yield number, value
            continue
        if wire_type == BYTES:
            size, index = _read_varint(view, index)
        elif wire_type in FIXED_SIZES:
            size = FIXED_SIZES[wire_type]
        else:
            raise MalformedMessage(f"unknown wire type {wire_type}")
        if number == 0 or size > len(view) - index:
            raise MalformedMessage("a field is cut off")
        yield number, view[index : index + size]
        index += size


def as_bytes(value: Value) -> memoryview:
    """Return the bytes of a message or text; MalformedMessage where the value is a number."""
    if isinstance(value, int):
        raise MalformedMessage("a number stands where bytes are expected")
    return value


def read_integers(value: Value, limit: int) -> list[int]:
    """Return a number as a list, or the numbers of a packed list; reading stops after `limit` numbers."""
    if isinstance(value, int):
        return [value]
    integers: list[int] = []
    index = 0
    while index < len(value) and len(integers) < limit:
        number, index = _read_varint(value, index)
        integers.append(number)
    return integers


def count_integers(value: Value) -> int:
    """Count the numbers of a packed list; a single number counts as 1."""
    return 1 if isinstance(value, int) else int(np.count_nonzero(np.frombuffer(value, np.uint8) < 128))


def _read_varint(view: memoryview, index: int) -> tuple[int, int]:
    """Return a signed 64-bit number and the index after it."""
    value = 0
    for shift in range(0, 70, 7):
        if index >= len(view):
            raise MalformedMessage("a number is cut off")
        byte = view[index]
        index += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value if value < 1 << 63 else value - (1 << 64), index
    raise MalformedMessage("a number has more than 10 bytes")
