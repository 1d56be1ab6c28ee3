"""Fit the matrices that write to the residual stream by least squares, layer by layer, without training.

Slicing does not change the weights of the remaining heads and neurons, although they could do part of the work of the
removed ones. The teacher's sums in the residual stream are the targets, and linear regression gives the best matrix for
them. After He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (2017); Kwon et al. 2022 fit
one factor per head and neuron in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from autocompress.models.candidate import Candidate
from autocompress.models.forward import Forward
from autocompress.models.layer_parts import Affine
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
        """Write the solution to `linear`, whose weights are W₀; without a bias in `linear`, b is 0."""
        assert isinstance(self.x, Tensor) and isinstance(self.y, Tensor), "no rows"
        has_bias = linear.bias is not None
        mean_x, mean_y = (sums / self.rows if has_bias else torch.zeros_like(sums) for sums in (self.x, self.y))
        square = self.xx - self.rows * torch.outer(mean_x, mean_x)
        ridge = RIDGE * square.diagonal().mean().clamp_min(1e-12)
        initial = linear.weight.double()
        left = square + ridge * torch.eye(len(square), dtype=torch.float64)
        right = self.xy - self.rows * torch.outer(mean_x, mean_y) + ridge * initial.T
        weight = torch.linalg.solve(left, right).T
        linear.weight.copy_(weight)
        if linear.bias is not None:
            linear.bias.copy_(mean_y - weight @ mean_x)


@dataclass
class _Fits:
    """The regressions of one run through the layers: each is solved at once, or all uses of a shared layer together."""

    fitted: tuple[str, ...]  # the parts that are fitted: output, ffn_out
    is_shared: bool
    regressions: dict[str, _Regression] = field(default_factory=dict)

    def add(self, part: str, x: Tensor, y: Tensor) -> None:
        """Add rows of inputs and targets of a part, where it is fitted."""
        if part in self.fitted:
            self.regressions.setdefault(part, _Regression()).add(x, y)

    def solve(self, part: str, linear: Affine) -> None:
        """Solve a part that is fitted and not shared."""
        if part in self.fitted and not self.is_shared:
            self.regressions.pop(part).solve(linear)


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
    teacher layer before the next kept one (see `match_layers`), whose norm the layer takes over. A shared layer is fitted to
    the targets of all of its uses. In the last layer only position 0 counts where the head reads no other. `batches` hold
    input_ids and attention_mask (and token_type_ids) of some thousand rows in all.
    """
    student = Forward(candidate.model, candidate.family)
    if not candidate.family.shares_layers:
        _run_layers(candidate, teacher, student, batches, _Fits(("output", "ffn_out"), False), progress)
        return
    for share, part in (
        (0.0, "output"),
        (0.5, "ffn_out"),
    ):  # the first fit changes the inputs of the second, in all uses
        fits = _Fits((part,), True)
        _run_layers(candidate, teacher, student, batches, fits, partial(_report_half, progress, share))
        parts = student.parts[0]
        fits.regressions[part].solve(parts.output if part == "output" else parts.ffn_out)


def _report_half(progress: Progress, begin: float, done: float) -> None:
    """Report the progress of one of two runs."""
    progress(begin + done / 2)


def _run_layers(
    candidate: Candidate,
    teacher: Forward,
    student: Forward,
    batches: Sequence[Mapping[str, Tensor]],
    fits: _Fits,
    progress: Progress,
) -> None:
    """Run all layers of both models on all batches, side by side, and fit the candidate's."""
    batch_states = [_embed(teacher, student, batch) for batch in batches]
    target_layers = match_layers(candidate.kept_layers, len(teacher.parts))
    begin = 0
    for index, (kept, target) in enumerate(zip(candidate.kept_layers, target_layers, strict=True)):
        first_only = student.head.first_only and index == len(student.parts) - 1
        for states in batch_states:
            _run_teacher(teacher, states, range(begin, target + 1), kept)
        _fit_attention(student, index, batch_states, first_only, fits)
        student.block.take_over(student.parts[index], teacher.parts[target])
        _fit_feed_forward(student, index, batch_states, first_only, fits)
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
    block = teacher.block
    for layer in layers:
        parts = teacher.parts[layer]
        with autocast():
            context = teacher.attend(layer, block.attention_input(parts, states.teacher), states.teacher_mask)
            attention_sum = states.teacher + parts.output(context)
            attended = block.after_attention(parts, attention_sum)
            ffn_sum = attended + parts.ffn_out(block.inner(parts, attended))
            states.teacher = block.after_ffn(parts, ffn_sum)
        if layer == kept:
            states.attention_sum = attention_sum
        states.ffn_sum = ffn_sum


def _fit_attention(
    student: Forward, index: int, batch_states: Sequence[_BatchStates], first_only: bool, fits: _Fits
) -> None:
    """Fit the output matrix of attention, and run attention on the candidate's states."""
    parts, block, contexts = student.parts[index], student.block, []
    queries = slice(0, 1) if first_only else slice(None)
    for states in batch_states:
        with autocast():
            read = block.attention_input(parts, states.candidate)
            context = student.attend(index, read, states.candidate_mask, first_only)
        states.candidate, states.tokens = states.candidate[:, queries], states.tokens[:, queries]
        residual = states.attention_sum[:, queries] - states.candidate
        fits.add("output", context[states.tokens], residual[states.tokens])
        contexts.append(context)
    fits.solve("output", parts.output)
    for states, context in zip(batch_states, contexts, strict=True):
        states.candidate = block.after_attention(parts, states.candidate + parts.output(context.float()))


def _fit_feed_forward(
    student: Forward, index: int, batch_states: Sequence[_BatchStates], first_only: bool, fits: _Fits
) -> None:
    """Fit the output matrix of the feed-forward, and run the feed-forward on the candidate's states."""
    parts, block, activations = student.parts[index], student.block, []
    queries = slice(0, 1) if first_only else slice(None)
    for states in batch_states:
        with autocast():
            inner = block.inner(parts, states.candidate)
        residual = states.ffn_sum[:, queries] - states.candidate
        fits.add("ffn_out", inner[states.tokens], residual[states.tokens])
        activations.append(inner)
    fits.solve("ffn_out", parts.ffn_out)
    for states, inner in zip(batch_states, activations, strict=True):
        states.candidate = block.after_ffn(parts, states.candidate + parts.ffn_out(inner.float()))
