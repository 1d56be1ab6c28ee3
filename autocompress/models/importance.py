"""What each head, neuron and layer of the teacher is worth, measured on calibration rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from autocompress.models.forward import Forward, Gates
from autocompress.models.precision import autocast
from autocompress.models.slicing import Importance

VERSION = 1
CALIBRATION_ROWS = 512


def measure_importance(forward: Forward, batches: Sequence[dict[str, torch.Tensor]]) -> Importance:
    """Importance of all heads and neurons, and the order in which layers are best given up.

    `batches` hold input_ids, attention_mask, labels (and token_type_ids) of at least a few hundred rows in all.
    """
    heads, neurons = _fisher(forward, batches)
    return Importance(heads, neurons, removal_order(forward, batches))


def _fisher(forward: Forward, batches: Sequence[dict[str, torch.Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared gradient of the loss by a gate on every head and neuron: (layers, heads), (layers, neurons).

    The diagonal Fisher information of the gates (Kwon et al. 2022, eq. 8): to second order, what switching one off costs.
    """
    sums: list[torch.Tensor] = []
    rows = 0
    for batch in batches:
        size = len(batch["labels"])
        gates = Gates(
            [torch.ones(size, parts.heads, requires_grad=True) for parts in forward.parts],
            [torch.ones(size, parts.neurons, requires_grad=True) for parts in forward.parts],
        )
        with autocast():
            logits = forward.batch(batch, gates=gates).logits
        loss = F.cross_entropy(logits.float(), batch["labels"], reduction="sum")
        gradients = torch.autograd.grad(loss, gates.heads + gates.neurons)
        squares = [gradient.double().square().sum(0) for gradient in gradients]
        sums = [a + b for a, b in zip(sums, squares, strict=True)] if sums else squares
        rows += size
    means = [total.numpy() / rows for total in sums]
    layers = len(forward.parts)
    return np.stack(means[:layers]), np.stack(means[layers:])


@torch.no_grad()
def removal_order(forward: Forward, batches: Sequence[dict[str, torch.Tensor]]) -> tuple[int, ...]:
    """Layers, the first one the best to give up: at each step the one without which the logits change least.

    Change = KL divergence from the full model's predictions to those without the layers given up so far. Greedy; the
    sets are nested, so that a shallower candidate is a part of a deeper one.
    """
    layers = len(forward.parts)
    full = [_predictions(forward, batch, frozenset()) for batch in batches]

    def cost(skip: frozenset[int]) -> float:
        parts = [_predictions(forward, batch, skip) for batch in batches]
        return sum(
            float(F.kl_div(part, target, reduction="sum", log_target=True))
            for part, target in zip(parts, full, strict=True)
        )

    order: list[int] = []
    while len(order) < layers - 1:
        left = [layer for layer in range(layers) if layer not in order]
        order.append(min(left, key=lambda layer: cost(frozenset([*order, layer]))))
    return (*order, *(layer for layer in range(layers) if layer not in order))


def _predictions(forward: Forward, batch: dict[str, torch.Tensor], skip: frozenset[int]) -> torch.Tensor:
    with autocast():
        logits = forward.batch(batch, skip=skip).logits
    return F.log_softmax(logits.float(), dim=-1)


def save(importance: Importance, path: Path) -> None:
    """Write as .npz."""
    np.savez(path, heads=importance.heads, neurons=importance.neurons, removal=np.array(importance.removal))


def load(path: Path) -> Importance:
    """Read what `save` wrote."""
    with np.load(path) as file:
        return Importance(file["heads"], file["neurons"], tuple(int(layer) for layer in file["removal"]))
