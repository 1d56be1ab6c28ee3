"""One training for all candidates: a super-net, from which every recipe of a space is cut with weights that already work.

Heads and neurons of each layer are sorted by importance, so that what a recipe keeps is the first part of each matrix; each
step trains the smallest sub-net of the space and some drawn ones on the teacher's outputs (the sandwich rule of Yu and
Huang 2019, without its largest net, which is the teacher itself). After Hou et al., "DynaBERT" (2020).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from autocompress.config import Recovery
from autocompress.core.recipe import Recipe
from autocompress.models.families import Affine, LayerParts
from autocompress.models.forward import Forward
from autocompress.models.precision import autocast
from autocompress.models.slicing import Importance, build_candidate, keep_heads, keep_neurons
from autocompress.training.distillation import Batch, Targets, distillation_loss
from autocompress.training.loop import Progress, fit

VERSION = 2
DRAWN = 2  # sub-nets a step besides the smallest


@dataclass(frozen=True)
class _First:
    """The first rows and columns of a linear map, whose weights they share."""

    whole: Affine
    rows: int | None = None  # None: all
    columns: int | None = None

    @property
    def weight(self) -> Tensor:
        return self.whole.weight[: self.rows, : self.columns]

    @property
    def bias(self) -> Tensor:
        return self.whole.bias[: self.rows]

    @property
    def out_features(self) -> int:
        return self.whole.out_features if self.rows is None else self.rows

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class SuperNet:
    """A copy of the teacher whose heads and neurons are sorted, the most important first."""

    def __init__(self, teacher: Any, family: ModuleType, importance: Importance) -> None:
        self.model, self.family = copy.deepcopy(teacher), family
        self._importance, self._shapeless = importance, copy.deepcopy(teacher).to("meta")
        self._cuts: dict[Recipe, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {}
        self._orders = [
            (np.argsort(-heads, kind="stable"), np.argsort(-neurons, kind="stable"))
            for heads, neurons in zip(importance.heads, importance.neurons, strict=True)
        ]
        self._reorder(self.model, self._orders)

    def cut(self, recipe: Recipe) -> Forward:
        """The forward pass of a recipe's sub-net; its weights are parts of this model's."""
        forward = Forward(self.model, self.family)
        kept, heads, neurons = self._shape(recipe)
        wholes = [forward.parts[layer] for layer in kept]
        forward.parts = [_first(*shape) for shape in zip(wholes, heads, neurons, strict=True)]
        return forward

    def restored(self) -> Any:
        """A copy of the model with heads and neurons in the teacher's order: candidates are cut from it as from the teacher."""
        model = copy.deepcopy(self.model)
        self._reorder(model, [(np.argsort(heads), np.argsort(neurons)) for heads, neurons in self._orders])
        return model.eval()

    def _shape(self, recipe: Recipe) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Kept layers, and heads and neurons of each."""
        if recipe not in self._cuts:
            candidate = build_candidate(self._shapeless, recipe, self._importance)
            self._cuts[recipe] = (candidate.kept_layers, candidate.heads, candidate.neurons)
        return self._cuts[recipe]

    def _reorder(self, model: Any, orders: list[tuple[np.ndarray, np.ndarray]]) -> None:
        for layer, (heads, neurons) in zip(self.family.layers(model), orders, strict=True):
            keep_heads(self.family, layer, heads)
            keep_neurons(self.family, layer, neurons)


def _first(parts: LayerParts, heads: int, neurons: int) -> LayerParts:
    width = heads * parts.head_size
    return replace(
        parts,
        query=_First(parts.query, width),
        key=_First(parts.key, width),
        value=_First(parts.value, width),
        output=_First(parts.output, None, width),
        ffn_in=_First(parts.ffn_in, neurons),
        ffn_out=_First(parts.ffn_out, None, neurons),
    )


def train_supernet(
    net: SuperNet,
    smallest: Recipe,
    draw: Callable[[np.random.Generator], Recipe],
    targets: Targets,
    batch_of: Batch,
    lengths: list[int],
    settings: Recovery,
    *,
    epochs: float,
    seed: int,
    progress: Progress = lambda fraction: None,
) -> float:
    """Train in place; the loss it ended at. An epoch is all rows of `lengths`; sub-nets of a step run side by side, one a core.

    The loss of a sub-net is that of distillation without hidden states. The word table stays the teacher's.
    """
    rng = np.random.default_rng(seed)
    table = net.family.embeddings(net.model).word.weight.requires_grad_(False)
    trained = [parameter for parameter in net.model.eval().parameters() if parameter.requires_grad]  # without dropout

    def gradients_of(recipe: Recipe, batch: dict[str, Tensor], target: Tensor) -> tuple[Tensor, Any]:
        with autocast():
            output = net.cut(recipe).batch(batch)
        loss = distillation_loss(output, target, batch["labels"], settings)
        return loss.detach(), torch.autograd.grad(loss, trained, allow_unused=True)

    with _one_core_each() as side_by_side:

        def step(rows: np.ndarray) -> Tensor:
            batch, target = batch_of(rows), torch.from_numpy(targets.logits[rows])
            recipes = [smallest, *(draw(rng) for _ in range(DRAWN))]
            results = list(side_by_side(lambda recipe: gradients_of(recipe, batch, target), recipes))
            for parameter, *gradients in zip(trained, *(found for _, found in results), strict=True):
                present = [gradient for gradient in gradients if gradient is not None]
                parameter.grad = sum(present[1:], start=present[0]) / len(recipes) if present else None
            return torch.stack([loss for loss, _ in results]).mean()

        loss = fit(
            trained, step, lengths, epochs=epochs, batch=settings.batch, learning_rate=settings.supernet_learning_rate,
            seed=seed, progress=progress,
        )  # fmt: skip
    table.requires_grad_(True)
    return loss


@contextmanager
def _one_core_each() -> Iterator[Callable[..., Any]]:
    """A `map` that runs on as many threads as torch has, each computing on one core."""
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
        try:
            yield pool.map
        finally:
            torch.set_num_threads(threads)
