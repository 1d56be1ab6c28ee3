"""The training loop: its batches, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autocompress.core.json_types import Json
from autocompress.training import checkpoint
from autocompress.training.checkpoint import Checkpoint
from autocompress.training.loop import (
    _build_optimizer,
    _build_schedule,
    endless_batches,
    make_backward_step,
    minimize_loss,
    ordered_batches,
)


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


class Regression:
    """A linear model, trained on random rows; its dropout draws random numbers."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.weight = torch.nn.Parameter(torch.zeros(4, 1))
        self.x = torch.randn(200, 4)
        self.y = self.x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])

    def train(self, **options: Any) -> None:
        def loss(rows: np.ndarray) -> torch.Tensor:
            x = torch.nn.functional.dropout(self.x[rows], 0.1)
            return ((x @ self.weight - self.y[rows]) ** 2).mean()

        settings: dict[str, Any] = {"epochs": 4, "batch": 10, "learning_rate": 0.05, "seed": 1, **options}
        torch.manual_seed(2)
        minimize_loss([self.weight], make_backward_step(loss), [1] * 200, **settings)


class Killed(BaseException):
    """Ends a training like a kill."""


def kill_at(step: int) -> Callable[[int], None]:
    def watch(done: int) -> None:
        if done == step:
            raise Killed

    return watch


def test_a_training_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)  # save at each step
    whole, part, rest = Regression(), Regression(), Regression()
    whole.train()
    restored: list[Json] = []
    with pytest.raises(Killed):
        part.train(watch=kill_at(30), watch_every=1, checkpoint=Checkpoint(tmp_path / "a.pt", lambda: {"text": "more"}))
    assert not torch.equal(part.weight, whole.weight)
    steps: list[int] = []
    rest.train(
        watch=steps.append, watch_every=1, checkpoint=Checkpoint(tmp_path / "a.pt", restore_more=restored.append)
    )
    assert torch.equal(rest.weight, whole.weight)
    assert steps == list(range(30, 81)) and restored == [{"text": "more"}]


def test_a_training_is_saved_only_so_often(tmp_path: Path) -> None:
    saving = Checkpoint(tmp_path / "a.pt")
    Regression().train(checkpoint=saving)
    assert not (tmp_path / "a.pt").exists()  # it took less time


def test_the_rate_rises_and_falls_to_zero() -> None:
    def rates(first: int = 0) -> list[float]:
        optimizer = _build_optimizer([torch.nn.Parameter(torch.ones(2, 2))], 1.0)
        schedule = _build_schedule(optimizer, 10, 0.2, first)
        found = []
        for _ in range(10 - first):
            found.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        return found

    assert rates() == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert rates(first=4) == pytest.approx(rates()[4:])
