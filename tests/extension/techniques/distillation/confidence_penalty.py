"""Penalize confident predictions while a candidate is trained (Pereyra et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, WholeNumbers
from autocompress.core.scalar import Scalar, as_int
from autocompress.techniques.stages import AddedLoss, TrainingStep, TrainingTechnique

if TYPE_CHECKING:
    from torch import Tensor

    from autocompress.models.candidate import Candidate


class ConfidencePenalty(TrainingTechnique):
    """The weight of the negative entropy of the predictions in the loss, in percent."""

    name = "confidence_penalty"
    domain = WholeNumbers(least=0)

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return 0

    def describe(self, value: Scalar) -> str:
        return f"{value} % confidence penalty" if value else ""

    @contextmanager
    def train(self, candidate: Candidate, value: Scalar, read: Mapping[str, Scalar]) -> Iterator[AddedLoss]:
        def penalty(step: TrainingStep) -> Tensor:
            logs = step.output.logits.float().log_softmax(-1)
            return as_int(value) / 100 * (logs.exp() * logs).sum(-1).mean()

        yield penalty


TECHNIQUE = ConfidencePenalty()
