"""Fit the matrices that write to the residual stream by least squares, layer by layer, without training.

Slicing does not change the weights of the remaining heads and neurons, although they could do part of the work of the
removed ones. The teacher's sums in the residual stream are the targets, and linear regression gives the best matrix for
them. After He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (2017); Kwon et al. 2022 fit
one factor per head and neuron in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autocompress.models.candidate import Candidate
from autocompress.models.families import Affine
from autocompress.models.forward import Forward
from autocompress.models.precision import autocast
from autocompress.training.distillation import match_layers
from autocompress.training.loop import Progress

VERSION = 2
RIDGE = 1e-3  # relative to the mean square of the inputs: pulls the solution towards the initial weights


@dataclass
class _BatchStates:
    """The states of one batch between the layers of both models."""

    teacher: Tensor  # hidden states (batch, sequence, hidden)
    candidate: Tensor
    teacher_mask: Tensor | None
    candidate_mask: Tensor | None
    tokens: Tensor  # (batch, sequence) bool: the regression ignores padding
    attention_sum: Tensor = field(init=False)  # the teacher's sum after attention, before the norm: the next target
    ffn_sum: Tensor = field(init=False)  # likewise after the feed-forward


class _Regression:
    """Least squares of `y` on `x`, from sums over batches: min Σ‖y − Wx − b‖² + λ‖W − W₀‖²."""

    def __init__(self) -> None:
        self.rows = 0
        self.xx: Tensor | float = 0.0
        self.xy: Tensor | float = 0.0
        self.x: Tensor | float = 0.0
        self.y: Tensor | float = 0.0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add rows: x (rows, inputs), y (rows, outputs)."""
        x, y = x.float(), y.float()
        self.rows += len(x)
        self.xx = self.xx + (x.T @ x).double()
        self.xy = self.xy + (x.T @ y).double()
        self.x = self.x + x.sum(0).double()
        self.y = self.y + y.sum(0).double()

    def solve(self, linear: Affine) -> None:
        """Write the solution to `linear`, whose weights are W₀."""
        assert isinstance(self.x, Tensor) and isinstance(self.y, Tensor), "no rows"
        mean_x, mean_y = self.x / self.rows, self.y / self.rows
        square = self.xx - self.rows * torch.outer(mean_x, mean_x)
        ridge = RIDGE * square.diagonal().mean().clamp_min(1e-12)
        initial = linear.weight.double()
        left = square + ridge * torch.eye(len(square), dtype=torch.float64)
        right = self.xy - self.rows * torch.outer(mean_x, mean_y) + ridge * initial.T
        weight = torch.linalg.solve(left, right).T
        linear.weight.copy_(weight)
        linear.bias.copy_(mean_y - weight @ mean_x)


@torch.no_grad()
def fit_least_squares(
    candidate: Candidate,
    teacher: Forward,
    batches: Sequence[Mapping[str, Tensor]],
    progress: Progress = lambda fraction: None,
) -> None:
    """Fit the output matrices of attention and feed-forward of every kept layer in place, the first layer first.

    Their inputs are the candidate's own hidden states, so that each fit also corrects the errors of those before it. The
    target after attention is the teacher's sum in the same layer. The target after the feed-forward is the sum of the last
    teacher layer before the next kept one (see `match_layers`), whose norm the layer takes over. In the last layer only
    position 0 counts where the head reads no other. `batches` hold input_ids and attention_mask (and token_type_ids) of some
    thousand rows in all.
    """
    student = Forward(candidate.model, candidate.family)
    batch_states = [_embed(teacher, student, batch) for batch in batches]
    target_layers = match_layers(candidate.kept_layers, len(teacher.parts))
    begin = 0
    for index, (kept, target) in enumerate(zip(candidate.kept_layers, target_layers, strict=True)):
        first_only = student.head.first_only and index == len(student.parts) - 1
        for states in batch_states:
            _run_teacher(teacher, states, range(begin, target + 1), kept)
        _fit_attention(student, index, batch_states, first_only)
        student.parts[index].ffn_norm.load_state_dict(teacher.parts[target].ffn_norm.state_dict())
        _fit_feed_forward(student, index, batch_states, first_only)
        begin = target + 1
        progress((index + 1) / len(student.parts))


def _embed(teacher: Forward, student: Forward, batch: Mapping[str, Tensor]) -> _BatchStates:
    """Return the first hidden states of a batch in both models."""
    ids, types, mask = batch["input_ids"], batch.get("token_type_ids"), batch["attention_mask"]
    hidden = teacher.embed(ids, types)
    return _BatchStates(
        hidden, student.embed(ids, types), teacher.mask(mask, hidden), student.mask(mask, hidden), mask.bool()
    )


def _run_teacher(teacher: Forward, states: _BatchStates, layers: range, kept: int) -> None:
    """Run some layers of the teacher; record its sum after attention of the layer `kept`, and after the last layer."""
    for layer in layers:
        parts = teacher.parts[layer]
        with autocast():
            attention_sum = states.teacher + parts.output(teacher.attend(layer, states.teacher, states.teacher_mask))
            inner = parts.attention_norm(attention_sum)
            ffn_sum = inner + parts.ffn_out(parts.activation(parts.ffn_in(inner)))
            states.teacher = parts.ffn_norm(ffn_sum)
        if layer == kept:
            states.attention_sum = attention_sum
        states.ffn_sum = ffn_sum


def _fit_attention(student: Forward, index: int, batch_states: Sequence[_BatchStates], first_only: bool) -> None:
    """Fit the output matrix of attention, and run attention on the candidate's states."""
    parts, regression = student.parts[index], _Regression()
    queries = slice(0, 1) if first_only else slice(None)
    contexts = []
    for states in batch_states:
        with autocast():
            context = student.attend(index, states.candidate, states.candidate_mask, first_only)
        states.candidate, states.tokens = states.candidate[:, queries], states.tokens[:, queries]
        residual = states.attention_sum[:, queries] - states.candidate
        regression.add(context[states.tokens], residual[states.tokens])
        contexts.append(context)
    regression.solve(parts.output)
    for states, context in zip(batch_states, contexts, strict=True):
        states.candidate = parts.attention_norm(states.candidate + parts.output(context.float()))


def _fit_feed_forward(student: Forward, index: int, batch_states: Sequence[_BatchStates], first_only: bool) -> None:
    """Fit the output matrix of the feed-forward, and run the feed-forward on the candidate's states."""
    parts, regression = student.parts[index], _Regression()
    queries = slice(0, 1) if first_only else slice(None)
    activations = []
    for states in batch_states:
        with autocast():
            inner = parts.activation(parts.ffn_in(states.candidate))
        residual = states.ffn_sum[:, queries] - states.candidate
        regression.add(inner[states.tokens], residual[states.tokens])
        activations.append(inner)
    regression.solve(parts.ffn_out)
    for states, inner in zip(batch_states, activations, strict=True):
        states.candidate = parts.ffn_norm(states.candidate + parts.ffn_out(inner.float()))
