"""Recovery without training: the matrices that write to the residual stream are fitted anew, layer by layer.

Slicing leaves the weights of the heads and neurons that stay as they were, though they could do part of the work of
those that went. What they should pass on is known, the teacher's own sums, and the best matrix for it is a linear
regression. After He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (2017); Kwon et al. 2022
fit one factor a head and neuron the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autocompress.models.families import Affine
from autocompress.models.forward import Forward
from autocompress.models.precision import autocast
from autocompress.models.slicing import Candidate
from autocompress.training.distillation import taught_layers
from autocompress.training.loop import Progress

VERSION = 2
RIDGE = 1e-3  # of the mean square of the inputs: pulls the fit towards the weights it starts from


@dataclass
class _Flow:
    """One batch on its way through both models."""

    teachers: Tensor  # hidden states (batch, sequence, hidden)
    candidates: Tensor
    teachers_mask: Tensor | None
    candidates_mask: Tensor | None
    tokens: Tensor  # (batch, sequence) bool: padding counts for nothing
    attended: Tensor = field(init=False)  # the teacher's sums behind attention, before the norm: what is fitted next
    passed: Tensor = field(init=False)  # likewise behind the feed-forward


class _Regression:
    """Least squares of `y` on `x`, from sums over batches: min Σ‖y − Wx − b‖² + λ‖W − W₀‖²."""

    def __init__(self) -> None:
        self.rows = 0
        self.xx: Tensor | float = 0.0
        self.xy: Tensor | float = 0.0
        self.x: Tensor | float = 0.0
        self.y: Tensor | float = 0.0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Some rows: x (rows, inputs), y (rows, outputs)."""
        x, y = x.float(), y.float()
        self.rows += len(x)
        self.xx = self.xx + (x.T @ x).double()
        self.xy = self.xy + (x.T @ y).double()
        self.x = self.x + x.sum(0).double()
        self.y = self.y + y.sum(0).double()

    def solve(self, linear: Affine) -> None:
        """Write the solution into `linear`; its weights are W₀."""
        assert isinstance(self.x, Tensor) and isinstance(self.y, Tensor), "no rows"
        mean_x, mean_y = self.x / self.rows, self.y / self.rows
        square = self.xx - self.rows * torch.outer(mean_x, mean_x)
        ridge = RIDGE * square.diagonal().mean().clamp_min(1e-12)
        before = linear.weight.double()
        left = square + ridge * torch.eye(len(square), dtype=torch.float64)
        right = self.xy - self.rows * torch.outer(mean_x, mean_y) + ridge * before.T
        weight = torch.linalg.solve(left, right).T
        linear.weight.copy_(weight)
        linear.bias.copy_(mean_y - weight @ mean_x)


@torch.no_grad()
def refit(
    candidate: Candidate,
    teacher: Forward,
    batches: Sequence[Mapping[str, Tensor]],
    progress: Progress = lambda fraction: None,
) -> None:
    """Fit the output matrices of attention and feed-forward of every kept layer in place, the first layer first.

    Their inputs are the candidate's own hidden states, so that each fit also mends what those before it left over. The
    goal is the teacher's sum at the same place; behind the feed-forward, that of the last teacher layer before the next
    kept one (see `taught_layers`), whose norm the layer takes over. In the last layer only position 0 counts.
    `batches` hold input_ids and attention_mask (and token_type_ids) of some thousand rows in all.
    """
    own = Forward(candidate.model, candidate.family)
    flows = [_flow(teacher, own, batch) for batch in batches]
    taught = taught_layers(candidate.kept_layers, len(teacher.parts))
    begin = 0
    for index, (kept, goal) in enumerate(zip(candidate.kept_layers, taught, strict=True)):
        first_only = index == len(own.parts) - 1
        for flow in flows:
            _teach(teacher, flow, range(begin, goal + 1), kept)
        _fit_attention(own, index, flows, first_only)
        own.parts[index].ffn_norm.load_state_dict(teacher.parts[goal].ffn_norm.state_dict())
        _fit_feed_forward(own, index, flows, first_only)
        begin = goal + 1
        progress((index + 1) / len(own.parts))


def _flow(teacher: Forward, own: Forward, batch: Mapping[str, Tensor]) -> _Flow:
    ids, kinds, mask = batch["input_ids"], batch.get("token_type_ids"), batch["attention_mask"]
    hidden = teacher.embed(ids, kinds)
    return _Flow(hidden, own.embed(ids, kinds), teacher.mask(mask, hidden), own.mask(mask, hidden), mask.bool())


def _teach(teacher: Forward, flow: _Flow, layers: range, kept: int) -> None:
    """Take the teacher's states through some layers; note its sums behind attention of `kept`, and behind the last."""
    for layer in layers:
        parts = teacher.parts[layer]
        with autocast():
            attended = flow.teachers + parts.output(teacher.attend(layer, flow.teachers, flow.teachers_mask))
            inner = parts.attention_norm(attended)
            passed = inner + parts.ffn_out(parts.activation(parts.ffn_in(inner)))
            flow.teachers = parts.ffn_norm(passed)
        if layer == kept:
            flow.attended = attended
        flow.passed = passed


def _fit_attention(own: Forward, index: int, flows: Sequence[_Flow], first_only: bool) -> None:
    """Fit the attention's output matrix and take the states through it."""
    parts, regression = own.parts[index], _Regression()
    queries = slice(0, 1) if first_only else slice(None)
    contexts = []
    for flow in flows:
        with autocast():
            context = own.attend(index, flow.candidates, flow.candidates_mask, first_only)
        flow.candidates, flow.tokens = flow.candidates[:, queries], flow.tokens[:, queries]
        regression.add(context[flow.tokens], (flow.attended[:, queries] - flow.candidates)[flow.tokens])
        contexts.append(context)
    regression.solve(parts.output)
    for flow, context in zip(flows, contexts, strict=True):
        flow.candidates = parts.attention_norm(flow.candidates + parts.output(context.float()))


def _fit_feed_forward(own: Forward, index: int, flows: Sequence[_Flow], first_only: bool) -> None:
    """Fit the feed-forward's output matrix and take the states through it."""
    parts, regression = own.parts[index], _Regression()
    queries = slice(0, 1) if first_only else slice(None)
    inners = []
    for flow in flows:
        with autocast():
            inner = parts.activation(parts.ffn_in(flow.candidates))
        regression.add(inner[flow.tokens], (flow.passed[:, queries] - flow.candidates)[flow.tokens])
        inners.append(inner)
    regression.solve(parts.ffn_out)
    for flow, inner in zip(flows, inners, strict=True):
        flow.candidates = parts.ffn_norm(flow.candidates + parts.ffn_out(inner.float()))
