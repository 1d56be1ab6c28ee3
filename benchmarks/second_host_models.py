"""Models for `second_host`: a very large one, and the raw protobuf of hostile ones."""

from __future__ import annotations

from pathlib import Path

import onnx

from tests.devices import write_model

LARGE_BYTES = 2_000_000_000  # the agent's default limit


def write_large_model(folder: Path) -> Path:
    """Write a model of nearly 2 GB, most of it in one table."""
    rows = (LARGE_BYTES - 100_000) // (16 * 4)
    model = onnx.load(write_model(folder))
    table = model.graph.initializer[0]
    table.dims[:] = [rows, 16]
    table.raw_data = bytes(rows * 16 * 4)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def protobuf_field(number: int, content: bytes) -> bytes:
    """Encode a field of bytes in protobuf's wire format."""
    length, varint = len(content), b""
    while length > 127:
        varint += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + varint + bytes([length]) + content
