"""Train all candidates at once: a super-net, from which every recipe of a space is cut with weights that already work.

Heads and neurons of each layer are sorted by importance, so that a recipe keeps the first part of each matrix. Each step
trains the smallest sub-net of the space and some random ones on the teacher's outputs: the sandwich rule of Yu and Huang
2019, without its largest net, which is the teacher itself. After Hou et al., "DynaBERT" (2020).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autocompress.config import Recovery
from autocompress.core.recipe import Recipe
from autocompress.models.blocks import BLOCKS
from autocompress.models.families import Family
from autocompress.models.forward import Forward
from autocompress.models.importance import Importance
from autocompress.models.precision import autocast
from autocompress.tasks import Objective, unit_outputs
from autocompress.techniques.building import build_candidate
from autocompress.training.distillation import Targets
from autocompress.training.evaluation import Batch
from autocompress.training.loop import Progress, minimize_loss

VERSION = 2
RANDOM_SUBNETS = 2  # per step, besides the smallest sub-net


@dataclass(frozen=True)
class _Shape:
    """The layers that a recipe keeps, and the numbers of heads and neurons of each."""

    kept_layers: tuple[int, ...]
    heads: tuple[int, ...]
    neurons: tuple[int, ...]


class SuperNet:
    """A copy of the teacher whose heads and neurons are sorted, the most important first."""

    def __init__(self, teacher: Any, family: Family, importance: Importance) -> None:
        self.model, self.family = copy.deepcopy(teacher), family
        self._importance, self._meta_model = importance, copy.deepcopy(teacher).to("meta")
        self._shapes: dict[Recipe, _Shape] = {}
        self._orders = [
            (np.argsort(-heads, kind="stable"), np.argsort(-neurons, kind="stable"))
            for heads, neurons in zip(*map(family.distinct, (importance.heads, importance.neurons)), strict=True)
        ]
        self._reorder(self.model, self._orders)

    def cut(self, recipe: Recipe) -> Forward:
        """Return the forward pass of a recipe's sub-net, whose weights are parts of this model's weights."""
        forward = Forward(self.model, self.family)
        shape = self._find_shape(recipe)
        kept = [forward.parts[layer] for layer in shape.kept_layers]
        sizes = zip(kept, shape.heads, shape.neurons, strict=True)
        forward.parts = [forward.block.view_first(parts, heads, neurons) for parts, heads, neurons in sizes]
        return forward

    def restore_teacher_order(self) -> Any:
        """Return a copy of the model with heads and neurons in the teacher's order, to cut candidates from."""
        model = copy.deepcopy(self.model)
        self._reorder(model, [(np.argsort(heads), np.argsort(neurons)) for heads, neurons in self._orders])
        return model.eval()

    def _find_shape(self, recipe: Recipe) -> _Shape:
        """Return the shape of a recipe's candidate, which is built without weights and only once."""
        if recipe not in self._shapes:
            candidate = build_candidate(self._meta_model, recipe, self._importance)
            self._shapes[recipe] = _Shape(candidate.kept_layers, candidate.heads, candidate.neurons)
        return self._shapes[recipe]

    def _reorder(self, model: Any, orders: list[tuple[np.ndarray, np.ndarray]]) -> None:
        block, layers = BLOCKS.load(self.family.block), self.family.distinct(self.family.parts(model))
        for parts, (heads, neurons) in zip(layers, orders, strict=True):
            block.keep_heads(parts, heads)
            block.keep_neurons(parts, neurons)


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
    objective: Objective,
    progress: Progress = lambda fraction: None,
) -> float:
    """Train in place; return the final loss. An epoch is all rows of `lengths`.

    The sub-nets of a step run in parallel, one per core. Their loss is that of distillation without hidden states. The word
    embeddings stay the teacher's.
    """
    rng = np.random.default_rng(seed)
    word_embeddings = net.family.embeddings(net.model).word.weight.requires_grad_(False)
    trained = [parameter for parameter in net.model.eval().parameters() if parameter.requires_grad]  # without dropout

    def compute_gradients(recipe: Recipe, batch: dict[str, Tensor], target: Tensor) -> tuple[Tensor, Any]:
        with autocast():
            output = net.cut(recipe).run_batch(batch)
        outputs = unit_outputs(output.logits, batch["attention_mask"])
        loss = objective.distillation_loss(outputs, target, batch, settings)
        return loss.detach(), torch.autograd.grad(loss, trained, allow_unused=True)

    with _one_core_each() as parallel_map:

        def backward_step(rows: np.ndarray) -> Tensor:
            batch, target = batch_of(rows), torch.from_numpy(targets.outputs.take(rows).values)
            recipes = [smallest, *(draw(rng) for _ in range(RANDOM_SUBNETS))]
            results = list(parallel_map(lambda recipe: compute_gradients(recipe, batch, target), recipes))
            _average_gradients(trained, [gradients for _, gradients in results])
            return torch.stack([loss for loss, _ in results]).mean()

        loss = minimize_loss(
            trained, backward_step, lengths, epochs=epochs, batch=settings.batch,
            learning_rate=settings.supernet_learning_rate, seed=seed, progress=progress,
        )  # fmt: skip
    word_embeddings.requires_grad_(True)
    return loss


def _average_gradients(trained: list[torch.nn.Parameter], gradients_by_subnet: list[tuple[Tensor | None, ...]]) -> None:
    """Set `grad` of each parameter to the mean over the sub-nets; a sub-net without the parameter counts as 0."""
    for parameter, *gradients in zip(trained, *gradients_by_subnet, strict=True):
        present = [gradient for gradient in gradients if gradient is not None]
        parameter.grad = sum(present[1:], start=present[0]) / len(gradients_by_subnet) if present else None


@contextmanager
def _one_core_each() -> Iterator[Callable[..., Any]]:
    """Provide a `map` that runs on as many threads as torch has, each computing on one core."""
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
        try:
            yield pool.map
        finally:
            torch.set_num_threads(threads)
