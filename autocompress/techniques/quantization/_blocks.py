"""Quantize matrices block-wise to 2, 4 or 8 bits, packed in the layout that onnxruntime reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Blocks:
    """A matrix with `value = (code − zero) × scale`; codes and zeros are unsigned, packed into bytes from the low bits."""

    packed: np.ndarray  # (rows, blocks, block × bits ÷ 8) uint8
    scales: np.ndarray  # (rows, blocks) float32
    zeros: np.ndarray  # (rows, ceil(blocks × bits ÷ 8)) uint8


def quantize_blocks(matrix: np.ndarray, bits: int, block: int) -> Blocks:
    """Quantize the rows of a (rows, width) matrix in blocks of `block` values, each with its own scale and zero point.

    Each block's range is multiplied by the factor, out of a few, with the smallest squared error: with 4 or 16 levels,
    clipping an outlier costs less than a range that includes it.
    """
    rows, width = matrix.shape
    count = -(-width // block)
    padded = np.zeros((rows, count * block), np.float32)
    padded[:, :width] = matrix
    values = padded.reshape(rows, count, block)
    scales, zeros = _choose_scales(values, bits)
    codes = _encode(values, scales, zeros, bits)
    return Blocks(_pack(codes, bits), scales.astype(np.float32), _pack(zeros.astype(np.uint8), bits))


def dequantize_blocks(blocks: Blocks, bits: int, width: int) -> np.ndarray:
    """Return the (rows, width) matrix that the runtime computes with."""
    count = blocks.scales.shape[1]
    codes = _unpack(blocks.packed, bits).astype(np.float32)
    zeros = _unpack(blocks.zeros, bits)[:, :count].astype(np.float32)
    values = (codes - zeros[..., None]) * blocks.scales[..., None]
    return np.asarray(values.reshape(len(codes), -1)[:, :width])


def _choose_scales(values: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose the scales and zero points (rows, blocks) with the smallest squared error."""
    low, high = np.minimum(values.min(-1), 0), np.maximum(values.max(-1), 0)  # 0 is always a level
    best_error = np.full(low.shape, np.inf)
    scales, zeros = np.ones_like(low), np.zeros_like(low)
    for factor in (1.0,) if bits == 8 else (1.0, 0.92, 0.84, 0.76, 0.68, 0.6):
        scale = np.maximum((high - low) * factor / (2**bits - 1), 1e-12)
        zero = np.clip(np.round(-low * factor / scale), 0, 2**bits - 1)
        error = np.square((_encode(values, scale, zero, bits) - zero[..., None]) * scale[..., None] - values).sum(-1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        scales, zeros = np.where(better, scale, scales), np.where(better, zero, zeros)
    return scales, zeros


def _encode(values: np.ndarray, scales: np.ndarray, zeros: np.ndarray, bits: int) -> np.ndarray:
    codes = np.round(values / scales[..., None]) + zeros[..., None]
    return np.asarray(np.clip(codes, 0, 2**bits - 1).astype(np.uint8))


def _pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Pack several codes into each byte along the last axis."""
    per_byte = 8 // bits
    padding = -codes.shape[-1] % per_byte
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, padding)])
    grouped = codes.reshape(*codes.shape[:-1], -1, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    return np.asarray(np.bitwise_or.reduce(grouped << shifts, axis=-1).astype(np.uint8))


def _unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    """Return the codes of packed bytes along the last axis."""
    shifts = np.arange(8 // bits, dtype=np.uint8) * bits
    codes = (packed[..., None] >> shifts) & (2**bits - 1)
    return np.asarray(codes.reshape(*packed.shape[:-1], -1))
