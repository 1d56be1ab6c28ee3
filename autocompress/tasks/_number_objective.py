"""The losses of tasks whose output is a number: squared errors, relative to the variance of the labels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from autocompress.config import Recovery
from autocompress.tasks import Objective


class NumberObjective(Objective):
    """Mean squared error of numbers; `mean` and `spread` (standard deviation) are those of the training labels.

    A model is fine-tuned on standardized labels, because a new head starts near 0 and learns at one rate whatever the units.
    Its last matrix is scaled afterwards, so that every saved model predicts in the units of the data.
    """

    def __init__(self, mean: float, spread: float) -> None:
        self.mean, self.spread = mean, spread

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return (outputs[:, 0].float() - (batch["labels"] - self.mean) / self.spread).square().mean()

    def importance_loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return half the squared errors in standard deviations: the log loss of a normal distribution."""
        return ((outputs[:, 0].float() - batch["labels"]) / self.spread).square().sum() / 2

    def distillation_loss(
        self, outputs: Tensor, targets: Tensor, batch: Mapping[str, Tensor], settings: Recovery
    ) -> Tensor:
        """Return the mean squared error against the teacher's numbers + label_weight · that of the labelled rows."""
        numbers, labels = outputs.float() / self.spread, batch["labels"] / self.spread
        soft = (numbers - targets / self.spread).square().mean()
        labelled = ~torch.isnan(labels)
        if settings.label_weight == 0 or not labelled.any():
            return soft
        return soft + settings.label_weight * (numbers[labelled, 0] - labels[labelled]).square().mean()

    def divergence(self, outputs: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the squared differences in standard deviations, summed over rows."""
        return ((outputs.float() - reference.float()) / self.spread).square().sum()

    def finish_fine_tuning(self, model: nn.Module) -> None:
        """Scale the last matrix of the head, so that the model predicts in the units of the data."""
        last = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == 1][-1]
        with torch.no_grad():
            last.weight.mul_(self.spread)
            last.bias.mul_(self.spread).add_(self.mean)
