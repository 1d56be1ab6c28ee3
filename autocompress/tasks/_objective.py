"""What a model is trained for, without importing torch before it is needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autocompress.config import Recovery


class Objective(ABC):
    """What a model is trained for: losses of outputs (units, width), as `unit_outputs` returns them.

    A batch holds input_ids, attention_mask and `labels` (units, …) (and token_type_ids).
    """

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean loss on the labels, for fine-tuning; NotImplementedError where there are no labels."""

    @abstractmethod
    def importance_loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return a sum over rows; its squared gradients rank heads and neurons.

        Tasks without labels use `random_projection`.
        """

    @abstractmethod
    def distillation_loss(
        self, outputs: Tensor, targets: Tensor, batch: Mapping[str, Tensor], settings: Recovery
    ) -> Tensor:
        """Return the mean loss against the teacher's outputs `targets` (units, width), and on the labels that are there."""

    @abstractmethod
    def divergence(self, outputs: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
        """Return how far outputs are from those of a reference, summed over units; 0 where they are equal."""

    def finish_fine_tuning(self, model: nn.Module) -> None:
        """Change a model in place after its fine-tuning, where the loss had other units than the data."""
        return  # most losses have none


def unit_outputs(outputs: Tensor, attention_mask: Tensor) -> Tensor:
    """Return outputs (batch, width) unchanged, and those of tokens (batch, sequence, width) without padding, as units."""
    return outputs if outputs.ndim == 2 else outputs[attention_mask.bool()]


def random_projection(outputs: Tensor, seed: int = 0) -> Tensor:
    """Return the sum of the outputs (units, width), each times a random number.

    The expected square of its gradient is the mean squared gradient of all outputs: an importance that needs no labels.
    """
    import torch

    noise = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(seed))
    return (outputs.float() * noise).sum()
