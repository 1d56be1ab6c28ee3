"""Train a candidate by distillation from the teacher's cached outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autocompress.config import Recovery
from autocompress.core.technique import read_values
from autocompress.data.ragged import Ragged
from autocompress.models.candidate import Candidate
from autocompress.models.forward import Forward, Output
from autocompress.models.precision import autocast
from autocompress.tasks import Objective, unit_outputs
from autocompress.techniques.stages import AddedLoss, TrainingStep, TrainingTechnique, active_of
from autocompress.training.evaluation import Batch, collect_outputs
from autocompress.training.loop import Progress, make_backward_step, minimize_loss, ordered_batches

VERSION = 2  # of the stage `recovered`; raise it, too, when the training loop gives other weights
TARGETS_VERSION = 2  # of the stage `targets`


@dataclass(frozen=True)
class Targets:
    """The teacher's outputs on the training rows, computed once.

    Two vectors per row and layer represent the hidden states: the state of position 0 and the mean over the tokens. They
    take a 30th of the space of all tokens' states and do not depend on the length.
    """

    outputs: Ragged  # (units, width) float32
    hidden: np.ndarray | StackedRows  # (rows, layers, 2, hidden) float16; index i = after layer i

    @classmethod
    def join(cls, parts: Sequence[Targets]) -> Targets:
        """Return the targets of several sets of rows, one set after the other; their states stay where they are."""
        return cls(
            Ragged.join([part.outputs for part in parts]), StackedRows([np.asarray(part.hidden) for part in parts])
        )


class StackedRows:
    """Arrays (rows, …) of the same kind as one, whose rows are read when they are asked for: files stay on disk."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts, self._ends = tuple(parts), np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])

    def __array__(self, dtype: np.dtype[np.float16] | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        numbers = np.arange(self.shape[0])[rows]
        found = np.empty((len(numbers), *self.shape[1:]), self._parts[0].dtype)
        of_part = np.searchsorted(self._ends, numbers, side="right")
        for index, part in enumerate(self._parts):
            first = self._ends[index] - len(part)
            found[of_part == index] = part[numbers[of_part == index] - first]
        return found


@torch.no_grad()
def compute_targets(forward: Forward, batch_of: Batch, lengths: list[int], progress: Progress) -> Targets:
    """Compute the teacher's outputs and pooled hidden states on all rows."""
    parts: list[Ragged] = []
    hidden: np.ndarray | None = None
    batches = ordered_batches(lengths, 64)
    for number, rows in enumerate(batches, 1):
        inputs = batch_of(rows)
        with autocast():
            output = forward.run_batch(inputs)
        mask = inputs["attention_mask"]
        pooled = torch.stack([pool_states(state, mask) for state in output.hidden[1:]], dim=1)
        if hidden is None:
            hidden = np.empty((len(lengths), *pooled.shape[1:]), np.float16)
        hidden[rows] = pooled.to(torch.float16).numpy()
        parts.append(collect_outputs(output.logits, mask))
        progress(number / len(batches))
    assert hidden is not None, "no rows"  # data without rows is refused earlier
    return Targets(Ragged.join(parts).take(np.argsort(np.concatenate(batches))), hidden)


def pool_states(state: Tensor, attention_mask: Tensor) -> Tensor:
    """Pool states (batch, sequence, hidden) to (batch, 2, hidden): position 0, and the mean over the tokens.

    Where only position 0 was computed (the last layer), both vectors are its state.
    """
    first = state[:, 0]
    if state.shape[1] == 1:
        return torch.stack((first, first), dim=1)
    weights = attention_mask.to(state.dtype)[:, :, None]
    return torch.stack((first, (state * weights).sum(1) / weights.sum(1)), dim=1)


def distil(
    candidate: Candidate,
    targets: Targets,
    batch_of: Batch,
    lengths: list[int],
    epoch_rows: int,
    settings: Recovery,
    seed: int,
    progress: Progress = lambda fraction: None,
    *,
    epochs: float,
    objective: Objective,
) -> float:
    """Train the candidate in place; return the final loss. An epoch is `epoch_rows` of the rows of `lengths`.

    Loss = the task's distillation loss + hidden_weight · the mean squared error of the pooled hidden states of the kept
    layers, relative to the teacher's variance (Hinton et al. 2015; Jiao et al. 2020). A kept layer replaces itself and the
    removed layers after it: it learns the states that the next kept layer reads in the teacher. Active decisions of the
    recipe about training run around the training and may add terms.

    The word embeddings stay the teacher's: they are most of a small candidate, nothing was removed from them, and training
    them would take half the time of a step.
    """
    with ExitStack() as stack:
        added_losses = _enter_trainings(candidate, stack)
        model = candidate.model.train()
        word_embeddings = candidate.family.embeddings(model).word.weight.requires_grad_(False)
        compute_loss = _make_loss(candidate, targets, batch_of, settings, objective, added_losses)
        loss = minimize_loss(
            model.parameters(),
            make_backward_step(compute_loss),
            lengths,
            epochs=epochs * epoch_rows / len(lengths),
            batch=settings.batch,
            learning_rate=settings.learning_rate,
            seed=seed,
            progress=progress,
        )
        word_embeddings.requires_grad_(True)
    candidate.model.eval()
    return loss


def _enter_trainings(candidate: Candidate, stack: ExitStack) -> list[AddedLoss]:
    """Enter the contexts of the recipe's decisions about training; return the terms that they add to the loss."""
    added = []
    for technique, value in active_of(candidate.recipe, TrainingTechnique):
        read = read_values(technique, candidate.recipe)
        added.append(stack.enter_context(technique.train(candidate, value, read)))
    return [term for term in added if term is not None]


def _make_loss(
    candidate: Candidate,
    targets: Targets,
    batch_of: Batch,
    settings: Recovery,
    objective: Objective,
    added_losses: Sequence[AddedLoss],
) -> Callable[[np.ndarray], Tensor]:
    """Return the loss of a batch, given its row indices."""
    forward = Forward(candidate.model, candidate.family)
    target_layers = match_layers(candidate.kept_layers, targets.hidden.shape[1])
    scale = targets.hidden[:1024].astype(np.float32).var(axis=(0, 2, 3))[target_layers]  # (kept layers,)
    weights = settings.hidden_weight / torch.from_numpy(np.maximum(scale, 1e-6))

    def compute_loss(rows: np.ndarray) -> Tensor:
        batch = batch_of(rows)
        output = forward.run_batch(batch)
        hidden = torch.from_numpy(targets.hidden[rows][:, target_layers])
        outputs = unit_outputs(output.logits, batch["attention_mask"])
        target = torch.from_numpy(targets.outputs.take(rows).values)
        outputs_loss = objective.distillation_loss(outputs, target, batch, settings)
        loss = outputs_loss + _hidden_loss(output, batch["attention_mask"], hidden, weights)
        for added_loss in added_losses:
            loss = loss + added_loss(TrainingStep(batch, output, target, hidden))
        return loss

    return compute_loss


@torch.no_grad()
def divergence(
    candidate: Candidate,
    targets: Targets,
    batches: Sequence[Mapping[str, Tensor]],
    rows: Sequence[np.ndarray],
    temperature: float,
    objective: Objective,
) -> float:
    """Return the mean divergence of a candidate from the teacher; `rows` holds the row indices of each batch."""
    forward, total = Forward(candidate.model, candidate.family), 0.0
    for batch, indices in zip(batches, rows, strict=True):
        with autocast():
            logits = forward.run_batch(batch).logits
        target = torch.from_numpy(targets.outputs.take(indices).values)
        total += float(objective.divergence(unit_outputs(logits, batch["attention_mask"]), target, temperature))
    return total / sum(map(len, rows))


def match_layers(kept: tuple[int, ...], layers: int) -> list[int]:
    """Return the teacher's layer whose output each kept layer learns: the last one before the next kept layer."""
    return [following - 1 for following in (*kept[1:], layers)]


def _hidden_loss(output: Output, attention_mask: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Compute the weighted mean squared error of the pooled hidden states of each layer."""
    pooled = torch.stack([pool_states(state.float(), attention_mask) for state in output.hidden[1:]], dim=1)
    return ((pooled - target.float()).square().mean(dim=(0, 2, 3)) * weights).mean()
