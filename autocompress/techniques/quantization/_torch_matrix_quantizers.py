"""Replace the product of a weight matrix in a PyTorch program by one in fewer bits.

`use_…` functions take the input, the weight (rows, columns) and the bias of a product, and return the call that replaces it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autocompress.formats.torch_export import Replacement


def use_bfloat16_product(x: Any, weight: Tensor, bias: Tensor | None) -> Replacement:
    """Store the weight as bfloat16."""
    return bfloat16_product, (x, weight.to(torch.bfloat16), bias)


def use_int8_product(x: Any, weight: Tensor, bias: Tensor | None) -> Replacement:
    """Store the weight as int8 with one scale per column."""
    scale = weight.abs().amax(0).clamp_min(1e-12) / 127  # (columns,)
    return int8_product, (x, torch.round(weight / scale).to(torch.int8), scale, bias)


def bfloat16_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply x (…, rows) by a weight (rows, columns); the kernel adds up in fp32."""
    product = (x.to(weight.dtype) @ weight).to(x.dtype)
    return product if bias is None else product + bias


def int8_product(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply x (…, rows) by codes (rows, columns) × scale (columns,); each row of x has a scale of its own."""
    rows = x.reshape(-1, x.shape[-1])
    step = rows.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127  # (rows of x, 1)
    sums = torch._int_mm(torch.round(rows / step).to(torch.int8), codes)
    product = (sums.to(x.dtype) * step * scale).reshape(*x.shape[:-1], codes.shape[1])
    return product if bias is None else product + bias
