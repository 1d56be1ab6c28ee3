"""The training loop: its batches, and what ends it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autocompress.training.loop import endless_batches, make_backward_step, minimize_loss, ordered_batches


def test_endless_batches_yield_each_row_once_per_epoch_with_similar_lengths() -> None:
    lengths = list(np.random.default_rng(0).integers(1, 60, 500))
    batches = endless_batches(lengths, 16, seed=0)
    epoch = [next(batches) for _ in range(-(-500 // 16))]
    assert sorted(np.concatenate(epoch).tolist()) == list(range(500))
    spread = np.mean([np.ptp(np.asarray(lengths)[rows]) for rows in epoch])
    assert spread < 5
    again = endless_batches(lengths, 16, seed=0)
    assert all(np.array_equal(rows, next(again)) for rows in epoch)
    assert sorted(np.concatenate(ordered_batches(lengths, 16)).tolist()) == list(range(500))


def test_minimize_loss_stops_at_a_loss_of_nan() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(FloatingPointError, match="loss is nan"):
        minimize_loss(
            [weight],
            make_backward_step(lambda rows: (weight * float("nan")).sum()),
            [1] * 100,
            epochs=5,
            batch=10,
            learning_rate=1e-3,
            seed=0,
        )
