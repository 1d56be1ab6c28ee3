"""The training loop of fine-tuning and recovery: bf16 where the CPU has it, length-bucketed batches, one schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from autocompress.models.precision import autocast

Progress = Callable[[float], None]  # called with the fraction done, 0..1
Gradients = Callable[[np.ndarray], Tensor]  # row numbers -> their loss; sets `grad` of the parameters


def fit(
    parameters: Iterable[torch.nn.Parameter],
    gradients_of: Gradients,
    lengths: Sequence[int],
    *,
    epochs: float,
    batch: int,
    learning_rate: float,
    seed: int,
    progress: Progress = lambda fraction: None,
) -> float:
    """Minimise the loss of `gradients_of` over batches of row numbers; mean loss of the last tenth of the steps.

    AdamW, linear warm-up over 6 % of the steps, then linear to zero (Devlin et al. 2019); gradients clipped at norm 1.
    Raises FloatingPointError when the loss is no longer finite.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    steps = max(1, round(epochs * len(lengths) / batch))
    decayed = [p for p in trained if p.ndim > 1]
    groups = [
        {"params": decayed, "weight_decay": 0.01},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    warmup = max(1, round(0.06 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (steps - step) / max(1, steps - warmup)))
    )
    losses = []
    for step, rows in zip(range(steps), endless_batches(lengths, batch, seed), strict=False):
        optimizer.zero_grad(set_to_none=True)
        losses.append(gradients_of(rows).detach())
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 9 or step == steps - 1:
            if not torch.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss is {losses[-1].item()} at step {step + 1} of {steps}")
            progress((step + 1) / steps)
    return float(torch.stack(losses[-max(1, steps // 10) :]).mean())


def backward(loss_of: Callable[[np.ndarray], Tensor]) -> Gradients:
    """The gradients of a plain loss."""

    def gradients_of(rows: np.ndarray) -> Tensor:
        with autocast():
            loss = loss_of(rows)
        loss.backward()  # type: ignore[no-untyped-call]  # torch declares no types for it
        return loss

    return gradients_of


def endless_batches(lengths: Sequence[int], batch: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of one batch after another; every row once per epoch, rows of like length together.

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
    """All rows once, sorted by length: for passes that only read."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    return [order[i : i + batch] for i in range(0, len(order), batch)]
