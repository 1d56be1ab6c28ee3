"""The training loop of fine-tuning, distillation and the super-net: length-bucketed batches and one learning-rate schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from autocompress.models.precision import autocast
from autocompress.training.checkpoint import Checkpoint

Progress = Callable[[float], None]  # called with the fraction done, 0..1
BackwardStep = Callable[[np.ndarray], Tensor]  # row indices -> their loss; sets `grad` of the parameters
Watch = Callable[[int], None]  # called with the number of steps done
WARMUP, WEIGHT_DECAY = 0.06, 0.01  # warm-up as a fraction of the steps; decay of matrices, not of biases and norms


def minimize_loss(
    parameters: Iterable[torch.nn.Parameter],
    backward_step: BackwardStep,
    lengths: Sequence[int],
    *,
    epochs: float,
    batch: int,
    learning_rate: float,
    seed: int,
    progress: Progress = lambda fraction: None,
    warmup: float = WARMUP,
    watch: Watch = lambda steps: None,
    watch_every: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> float:
    """Minimize a loss over batches of rows; return the mean loss of the last tenth of the steps that this call did.

    AdamW, linear warm-up over a fraction of the steps, then linear to zero (Devlin et al. 2019); gradients clipped at norm 1.
    `watch` is called every so many steps. With a `checkpoint`, the training goes on where it was saved last.
    FloatingPointError where the loss is not finite.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    steps = max(1, round(epochs * len(lengths) / batch))
    optimizer = _build_optimizer(trained, learning_rate)
    first = 0 if checkpoint is None else checkpoint.restore(trained, optimizer)
    scheduler = _build_schedule(optimizer, steps, warmup, first)
    losses = []
    for step, rows in zip(
        range(first, steps), islice(endless_batches(lengths, batch, seed), first, None), strict=False
    ):
        optimizer.zero_grad(set_to_none=True)
        losses.append(backward_step(rows).detach())
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        scheduler.step()
        done = step + 1
        if done % 10 == 0 or done == steps:
            if not torch.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss is {losses[-1].item()} at step {done} of {steps}")
            progress(done / steps)
        if watch_every is not None and done % watch_every == 0:
            watch(done)
        if checkpoint is not None:
            checkpoint.save_if_due(done, trained, optimizer)
    return float(torch.stack(losses[-max(1, len(losses) // 10) :]).mean()) if losses else float("nan")


def _build_optimizer(trained: list[torch.nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    for group in optimizer.param_groups:
        group["initial_lr"] = learning_rate  # from which a schedule that does not begin at step 0 starts
    return optimizer


def _build_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup: float, first: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Build the learning-rate schedule of so many steps, of which `first` are done."""
    rising = max(1, round(warmup * steps))
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / rising, max(0.0, (steps - step) / max(1, steps - rising))),
        last_epoch=first - 1,
    )


def make_backward_step(compute_loss: Callable[[np.ndarray], Tensor]) -> BackwardStep:
    """Return a step that computes a loss under autocast and backpropagates it."""

    def backward_step(rows: np.ndarray) -> Tensor:
        with autocast():
            loss = compute_loss(rows)
        loss.backward()  # type: ignore[no-untyped-call]  # torch declares no types for it
        return loss

    return backward_step


def endless_batches(lengths: Sequence[int], batch: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the row indices of batches without end: every row once per epoch, rows of similar length together.

    Each epoch is shuffled, cut into pools of 32 batches, sorted by length within a pool, and the batches are shuffled.
    """
    rng = np.random.default_rng(seed)
    sizes = np.asarray(lengths)
    while True:
        order = rng.permutation(len(sizes))
        pools = [order[i : i + 32 * batch] for i in range(0, len(order), 32 * batch)]
        pools = [pool[np.argsort(sizes[pool], kind="stable")] for pool in pools]
        batches = [pool[i : i + batch] for pool in pools for i in range(0, len(pool), batch)]
        yield from (batches[i] for i in rng.permutation(len(batches)))


def ordered_batches(lengths: Sequence[int], batch: int) -> list[np.ndarray]:
    """Return batches of all rows, sorted by length, for passes without training."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    return [order[i : i + batch] for i in range(0, len(order), batch)]
