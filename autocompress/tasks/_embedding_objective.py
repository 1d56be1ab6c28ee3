"""The losses of embeddings: a candidate learns the teacher's directions, and how similar it finds each two texts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from autocompress.config import Recovery
from autocompress.tasks import Objective, random_projection

LEAST_DISTANCE, LEAST_VARIANCE = 0.05, 1e-3  # of a batch, below which its texts say nothing of the scale


class EmbeddingObjective(Objective):
    """Cosine distances and errors of similarities, relative to those between unrelated texts of the same batch."""

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        raise NotImplementedError("feature-extraction has no labels to fine-tune on")

    def importance_loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return random_projection(outputs)

    def distillation_loss(
        self, outputs: Tensor, targets: Tensor, batch: Mapping[str, Tensor], settings: Recovery
    ) -> Tensor:
        """Return the mean of three errors against the teacher's embeddings, each 1 for embeddings of other texts.

        They are the cosine distance of each text (Reimers & Gurevych 2020, on directions), the squared error of the
        similarities within the batch (Tung & Mori 2019), and the squared relative error of lengths, which is 0 where
        embeddings are normalized. Relative: models differ a hundredfold in how similar they find unrelated texts.
        """
        student, teacher = F.normalize(outputs.float(), dim=1), F.normalize(targets.float(), dim=1)
        distance = (1 - (student * teacher).sum(1)).mean()
        lengths = (outputs.float().norm(dim=1) / targets.float().norm(dim=1).clamp(min=1e-6) - 1).square().mean()
        others = ~torch.eye(len(teacher), dtype=torch.bool)
        if not others.any():
            alone: Tensor = distance + lengths
            return alone
        expected = (teacher @ teacher.T)[others]
        similarity = ((student @ student.T)[others] - expected).square().mean()
        unrelated = (1 - expected.mean()).clamp(min=LEAST_DISTANCE)
        spread = expected.var(correction=0).clamp(min=LEAST_VARIANCE)
        loss: Tensor = distance / unrelated + similarity / spread + lengths
        return loss

    def divergence(self, outputs: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the cosine distances, summed over texts."""
        distances = 1 - F.cosine_similarity(outputs.float(), reference.float(), dim=1)
        return distances.sum()
