"""The format of a runtime: its encoding of quantization, and whether it runs ONNX graphs or PyTorch programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Ranges = Mapping[str, float]  # tensor -> its largest magnitude


class UnsupportedPrecision(Exception):
    """The target format cannot express the requested precision."""


@dataclass(frozen=True)
class TargetFormat:
    """The encoding of quantization for a runtime."""

    contrib: bool = True  # onnxruntime's own (contrib) operators; else standard ONNX operators
    static: bool = False  # activations are quantized by ranges measured beforehand; else by the ranges of each call
    program: str | None = None  # a PyTorch program for this device, cpu or cuda; null: an ONNX graph


ONNXRUNTIME_FORMAT = TargetFormat()
