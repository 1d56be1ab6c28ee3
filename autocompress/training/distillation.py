"""Recovery by training: distillation from the teacher's cached outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from autocompress.config import Recovery
from autocompress.data.augmentation import UNLABELLED
from autocompress.models.forward import Forward, Output
from autocompress.models.precision import autocast
from autocompress.models.slicing import Candidate
from autocompress.training.loop import Progress, backward, fit, ordered_batches

VERSION = 2  # of trained weights; raised, too, when the training loop gives others
TARGETS_VERSION = 2
Batch = Callable[[np.ndarray], dict[str, Tensor]]  # row numbers -> input_ids, attention_mask, labels (, token_type_ids)


@dataclass(frozen=True)
class Targets:
    """The teacher's outputs on the training rows, computed once.

    Hidden states are kept as two vectors a row and layer, the state of position 0 and the mean over the tokens: 30 times
    less to store and to read than the states of all tokens, and independent of the length.
    """

    logits: np.ndarray  # (rows, labels) float32
    hidden: np.ndarray  # (rows, layers, 2, hidden) float16; layer i = behind layer i


@torch.no_grad()
def teacher_targets(forward: Forward, batch_of: Batch, lengths: list[int], progress: Progress) -> Targets:
    """The teacher's logits and pooled hidden states on all rows."""
    logits: np.ndarray | None = None
    hidden: np.ndarray | None = None
    done = 0
    for rows in ordered_batches(lengths, 64):
        inputs = batch_of(rows)
        with autocast():
            output = forward.batch(inputs)
        pooled = torch.stack([pool(state, inputs["attention_mask"]) for state in output.hidden[1:]], dim=1)
        if logits is None or hidden is None:
            logits = np.empty((len(lengths), output.logits.shape[1]), np.float32)
            hidden = np.empty((len(lengths), *pooled.shape[1:]), np.float16)
        logits[rows], hidden[rows] = output.logits.float().numpy(), pooled.to(torch.float16).numpy()
        done += len(rows)
        progress(done / len(lengths))
    assert logits is not None and hidden is not None, "no rows"  # data without rows is refused earlier
    return Targets(logits, hidden)


def pool(state: Tensor, attention_mask: Tensor) -> Tensor:
    """(batch, sequence, hidden) -> (batch, 2, hidden): position 0, and the mean over the tokens.

    Where only position 0 was computed (the last layer), both are that.
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
) -> float:
    """Train the candidate in place; the loss it ended at. An epoch is `epoch_rows` rows, whichever of all rows they are.

    Loss = T² · KL(teacher ‖ candidate at temperature T) + label_weight · cross-entropy + hidden_weight · the mean squared
    error of the pooled hidden states of the kept layers, relative to the teacher's variance (Hinton et al. 2015; Jiao et
    al. 2020). A kept layer stands for itself and the dropped ones behind it: its output is taught to be what the next
    kept layer was used to read.

    The word table stays the teacher's: it is most of a small candidate, nothing was cut from it, and updating it would
    take half the time of a step.
    """
    model = candidate.model.train()
    table = candidate.family.embeddings(model).word.weight.requires_grad_(False)
    forward = Forward(model, candidate.family)
    taught = taught_layers(candidate.kept_layers, targets.hidden.shape[1])
    scale = targets.hidden[:1024].astype(np.float32).var(axis=(0, 2, 3))[taught]  # (kept layers,)
    weights = settings.hidden_weight / torch.from_numpy(np.maximum(scale, 1e-6))

    def loss_of(rows: np.ndarray) -> Tensor:
        batch = batch_of(rows)
        output = forward.batch(batch)
        return distillation_loss(output, torch.from_numpy(targets.logits[rows]), batch["labels"], settings) + (
            _hidden_loss(output, batch["attention_mask"], torch.from_numpy(targets.hidden[rows][:, taught]), weights)
        )

    loss = fit(
        model.parameters(),
        backward(loss_of),
        lengths,
        epochs=epochs * epoch_rows / len(lengths),
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        seed=seed,
        progress=progress,
    )
    table.requires_grad_(True)
    model.eval()
    return loss


@torch.no_grad()
def divergence(
    candidate: Candidate,
    targets: Targets,
    batches: Sequence[Mapping[str, Tensor]],
    rows: Sequence[np.ndarray],
    temperature: float,
) -> float:
    """Mean KL(teacher ‖ candidate) at a temperature on some rows, whose numbers are `rows`, batch by batch."""
    forward, total = Forward(candidate.model, candidate.family), 0.0
    for batch, numbers in zip(batches, rows, strict=True):
        with autocast():
            logits = forward.batch(batch).logits
        goal = F.log_softmax(torch.from_numpy(targets.logits[numbers]) / temperature, dim=-1)
        own = F.log_softmax(logits.float() / temperature, dim=-1)
        total += float(F.kl_div(own, goal, reduction="sum", log_target=True))
    return total / sum(map(len, rows))


def taught_layers(kept: tuple[int, ...], layers: int) -> list[int]:
    """For each kept layer the teacher's layer whose output it learns: the last one before the next kept layer."""
    return [following - 1 for following in (*kept[1:], layers)]


def distillation_loss(output: Output, target: Tensor, labels: Tensor, settings: Recovery) -> Tensor:
    """T² · KL(teacher ‖ candidate at temperature T) + label_weight · cross-entropy of the labelled rows."""
    logits, heat = output.logits.float(), settings.temperature
    soft = F.kl_div(
        F.log_softmax(logits / heat, dim=-1),
        F.log_softmax(target / heat, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    labelled = labels != UNLABELLED
    if settings.label_weight == 0 or not labelled.any():
        return heat**2 * soft
    return heat**2 * soft + settings.label_weight * F.cross_entropy(logits[labelled], labels[labelled])


def _hidden_loss(output: Output, attention_mask: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    pooled = torch.stack([pool(state.float(), attention_mask) for state in output.hidden[1:]], dim=1)
    return ((pooled - target.float()).square().mean(dim=(0, 2, 3)) * weights).mean()
