"""Compute the outputs of a torch model on rows, and its loss there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from autocompress.data.ragged import Ragged
from autocompress.models.forward import Forward
from autocompress.models.precision import autocast
from autocompress.tasks import Objective, unit_outputs
from autocompress.training.loop import ordered_batches

Batch = Callable[[np.ndarray], dict[str, Tensor]]  # row indices -> input_ids, attention_mask, labels (, token_type_ids)


def collect_outputs(logits: Tensor, attention_mask: Tensor) -> Ragged:
    """Return the logits (batch, width) or (batch, sequence, width) of a batch as units, without padding."""
    counts = torch.ones(len(logits)) if logits.ndim == 2 else attention_mask.sum(1)
    return Ragged(unit_outputs(logits, attention_mask).float().numpy(), counts.to(torch.int64).numpy())


@torch.no_grad()
def evaluate_rows(forward: Forward, batch_of: Batch, lengths: list[int], objective: Objective) -> tuple[Ragged, float]:
    """Return the outputs of a model on labelled rows, and the mean of its loss over them."""
    parts, losses, batches = [], [], ordered_batches(lengths, 64)
    for rows in batches:
        inputs = batch_of(rows)
        with autocast():
            logits = forward.run_batch(inputs).logits
        parts.append(collect_outputs(logits, inputs["attention_mask"]))
        losses.append(float(objective.loss(unit_outputs(logits, inputs["attention_mask"]), inputs)) * len(rows))
    return Ragged.join(parts).take(np.argsort(np.concatenate(batches))), sum(losses) / len(lengths)
