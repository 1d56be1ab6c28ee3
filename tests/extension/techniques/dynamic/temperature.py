"""Divide the logits by a temperature, so that their probabilities are less confident (Guo et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, WholeNumbers
from autocompress.core.scalar import Scalar, as_int
from autocompress.techniques.stages import InferenceTechnique

if TYPE_CHECKING:
    from torch import nn


class Temperature(InferenceTechnique):
    """What the exported model divides its logits by."""

    name = "temperature"
    domain = WholeNumbers()

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return 1

    def describe(self, value: Scalar) -> str:
        return "" if value == 1 else f"temperature {value}"

    def wrap(self, module: nn.Module, value: Scalar) -> nn.Module:
        import torch

        class Cooled(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = module

            def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
                logits: torch.Tensor = self.inner(*inputs)
                return logits / as_int(value)

        return Cooled()


TECHNIQUE = Temperature()
