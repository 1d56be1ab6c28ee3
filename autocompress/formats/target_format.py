"""What a runtime can express: how it takes fewer bits, and whether it runs ONNX graphs or PyTorch programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Ranges = Mapping[str, float]  # tensor -> its largest magnitude


class UnsupportedPrecision(Exception):
    """The target format cannot express the requested precision."""


@dataclass(frozen=True)
class TargetFormat:
    """How quantization is encoded for a runtime."""

    contrib: bool = True  # by onnxruntime's own operators; else by standard ones
    static: bool = False  # activations quantized by ranges that were measured beforehand; else by those of each call
    ranges: Ranges | None = None  # of what matrices multiply, where they are static
    program: str | None = None  # a PyTorch program for that device, cpu or cuda, instead of an ONNX graph


ONNXRUNTIME_FORMAT = TargetFormat()
