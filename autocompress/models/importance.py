"""Measure the importance of each head, neuron and layer of the teacher on calibration rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from autocompress.models.forward import Forward, Gates
from autocompress.models.precision import autocast
from autocompress.tasks import Objective, unit_outputs

VERSION = 1
CALIBRATION_ROWS = 512


@dataclass(frozen=True)
class Importance:
    """The importance of the teacher's parts on calibration rows; higher = keep."""

    heads: np.ndarray  # (layers, heads)
    neurons: np.ndarray  # (layers, neurons)
    removal: tuple[int, ...]  # layer indices in the order of removal: the least important layer first

    @property
    def is_shared(self) -> bool:
        """Return whether the layers share their weights: then one gate acts on all of them, and their rows are equal."""
        return len(self.heads) > 1 and all(bool((table == table[0]).all()) for table in (self.heads, self.neurons))


def measure_importance(
    forward: Forward, batches: Sequence[dict[str, torch.Tensor]], objective: Objective
) -> Importance:
    """Measure the importance of all heads and neurons, and the order in which to remove layers.

    `batches` hold input_ids, attention_mask, labels (and token_type_ids) of at least a few hundred rows in all.
    """
    if not forward.parts:  # nothing of the model can be removed
        return Importance(np.zeros((0, 0)), np.zeros((0, 0)), ())
    heads, neurons = _measure_fisher(forward, batches, objective)
    return Importance(heads, neurons, order_layer_removal(forward, batches, objective))


def _measure_fisher(
    forward: Forward, batches: Sequence[dict[str, torch.Tensor]], objective: Objective
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Fisher information of the heads (layers, heads) and of the neurons (layers, neurons).

    It is the mean squared gradient of the loss with respect to a gate on each head and neuron (Kwon et al. 2022, eq. 8):
    to second order, the increase of the loss when the gate closes. A gate of shared layers acts on all of their uses.
    """
    sums: list[torch.Tensor] = []
    rows = 0
    for batch in batches:
        squares = _sum_squared_gradients(forward, batch, objective)
        sums = [a + b for a, b in zip(sums, squares, strict=True)] if sums else squares
        rows += len(batch["input_ids"])
    means = [total.numpy() / rows for total in sums]
    half = len(means) // 2
    uses = len(forward.parts) // half  # of each gate
    return np.stack(means[:half] * uses), np.stack(means[half:] * uses)


def _sum_squared_gradients(
    forward: Forward, batch: dict[str, torch.Tensor], objective: Objective
) -> list[torch.Tensor]:
    """Sum the squared gradients of each gate over a batch: (heads,) of each layer, then (neurons,) of each layer."""
    size = len(batch["input_ids"])
    distinct = forward.family.distinct(forward.parts)
    heads = [torch.ones(size, parts.heads, requires_grad=True) for parts in distinct]
    neurons = [torch.ones(size, parts.neurons, requires_grad=True) for parts in distinct]
    uses = len(forward.parts) // len(distinct)
    with autocast():
        logits = forward.run_batch(batch, gates=Gates(heads * uses, neurons * uses)).logits
    loss = objective.importance_loss(unit_outputs(logits, batch["attention_mask"]), batch)
    gradients = torch.autograd.grad(loss, heads + neurons)
    return [gradient.double().square().sum(0) for gradient in gradients]


@torch.no_grad()
def order_layer_removal(
    forward: Forward, batches: Sequence[dict[str, torch.Tensor]], objective: Objective
) -> tuple[int, ...]:
    """Order the layers for removal: each step removes the layer whose removal changes the predictions least.

    The change is the divergence (see `Objective.divergence`) of the outputs without the layers removed before from the full
    model's. The search is greedy and the sets are nested, so that a shallower candidate is a part of a deeper one. Shared
    layers are all equal, so that only their number counts.
    """
    layers = len(forward.parts)
    if forward.family.shares_layers:
        return tuple(range(layers))
    full = [_predict(forward, batch, frozenset()) for batch in batches]

    def measure_change(skip: frozenset[int]) -> float:
        reduced = [_predict(forward, batch, skip) for batch in batches]
        return sum(float(objective.divergence(*outputs)) for outputs in zip(reduced, full, strict=True))

    order: list[int] = []
    while len(order) < layers - 1:
        remaining = [layer for layer in range(layers) if layer not in order]
        order.append(min(remaining, key=lambda layer: measure_change(frozenset([*order, layer]))))
    return (*order, *(layer for layer in range(layers) if layer not in order))


def _predict(forward: Forward, batch: dict[str, torch.Tensor], skip: frozenset[int]) -> torch.Tensor:
    """Return the outputs (units, width) of a pass without the layers in `skip`."""
    with autocast():
        logits = forward.run_batch(batch, skip=skip).logits
    return unit_outputs(logits, batch["attention_mask"]).float()


def save_importance(importance: Importance, path: Path) -> None:
    """Write the importance as .npz."""
    np.savez(path, heads=importance.heads, neurons=importance.neurons, removal=np.array(importance.removal))


def load_importance(path: Path) -> Importance:
    """Read a file that `save_importance` wrote."""
    with np.load(path) as file:
        return Importance(file["heads"], file["neurons"], tuple(int(layer) for layer in file["removal"]))
