"""Train with rounded weights, so that a candidate gets used to its bits (Jacob et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, Names
from autocompress.core.scalar import Scalar, as_int
from autocompress.techniques.stages import AddedLoss, TrainingTechnique

if TYPE_CHECKING:
    from autocompress.models.candidate import Candidate


class FakeQuantization(TrainingTechnique):
    """Whether the feed-forward matrices are rounded to the recipe's bits while a candidate is trained."""

    name, order = "fake_quantization", 1
    domain = Names(("none", "straight_through"))
    reads = ("weight_bits",)

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return "none"

    def describe(self, value: Scalar) -> str:
        return "" if value == "none" else "trained in its bits"

    @contextmanager
    def train(self, candidate: Candidate, value: Scalar, read: Mapping[str, Scalar]) -> Iterator[AddedLoss | None]:
        import torch
        from torch.nn.utils import parametrize

        levels = 2 ** (as_int(read["weight_bits"]) - 1) - 1

        class Rounded(torch.nn.Module):
            def forward(self, weight: torch.Tensor) -> torch.Tensor:
                step = weight.detach().abs().max() / levels
                return weight + ((weight / step).round() * step - weight).detach()

        parts = candidate.family.parts(candidate.model)
        linears = [linear for part in parts for linear in (part.ffn_in, part.ffn_out)]
        for linear in linears:
            parametrize.register_parametrization(linear, "weight", Rounded())
        try:
            yield None
        finally:
            for linear in linears:
                parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)


TECHNIQUE = FakeQuantization()
