"""The losses of tasks whose outputs are logits of labels, one set for each text or token."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from autocompress.config import Recovery
from autocompress.tasks import Objective

UNLABELLED = -100  # units with this label count for the teacher's outputs only


class ClassObjective(Objective):
    """Cross-entropy on labels, and the Kullback-Leibler divergence of softened probabilities from the teacher's."""

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs.float(), batch["labels"], ignore_index=UNLABELLED)

    def importance_loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the log losses: its squared gradients are the Fisher information."""
        return F.cross_entropy(outputs.float(), batch["labels"], ignore_index=UNLABELLED, reduction="sum")

    def distillation_loss(
        self, outputs: Tensor, targets: Tensor, batch: Mapping[str, Tensor], settings: Recovery
    ) -> Tensor:
        """Return T² · KL(teacher ‖ candidate at temperature T) + label_weight · cross-entropy of the labelled units."""
        logits, labels, temperature = outputs.float(), batch["labels"], settings.temperature
        soft = temperature**2 * F.kl_div(
            F.log_softmax(logits / temperature, dim=-1),
            F.log_softmax(targets / temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
        labelled = labels != UNLABELLED
        if settings.label_weight == 0 or not labelled.any():
            return soft
        return soft + settings.label_weight * F.cross_entropy(logits[labelled], labels[labelled])

    def divergence(self, outputs: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
        """Return KL(reference ‖ outputs at a temperature), summed over units."""
        prediction = F.log_softmax(outputs.float() / temperature, dim=-1)
        target = F.log_softmax(reference.float() / temperature, dim=-1)
        divergence: Tensor = F.kl_div(prediction, target, reduction="sum", log_target=True)
        return divergence
