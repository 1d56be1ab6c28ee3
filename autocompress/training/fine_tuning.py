"""Fine-tune a pretrained model on the labels of the task, so that it becomes the teacher."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from autocompress.config import FineTune
from autocompress.core.json_types import Json
from autocompress.models.families import load_family
from autocompress.models.forward import open_forward
from autocompress.models.model_types import Model
from autocompress.tasks import Objective, unit_outputs
from autocompress.training.checkpoint import Checkpoint
from autocompress.training.loop import WARMUP, BackwardStep, Progress, make_backward_step, minimize_loss
from autocompress.training.settings_search import CurvePoint

VERSION = 1  # of the stage `teacher`
AUTO_VERSION = 1  # of the same stage, where its settings are searched
CURVE_POINTS = 4  # of a fine-tuning that is evaluated
WARM_STEPS, TIMED_STEPS = 3, 10  # before a search with a time limit
Evaluate = Callable[[Model], tuple[float, float]]  # model -> quality and loss on rows that are not learned


@dataclass(frozen=True)
class LabelledRows:
    """Rows to fine-tune on."""

    batch_of: Callable[[np.ndarray], dict[str, torch.Tensor]]  # row numbers -> inputs and labels
    lengths: list[int]  # tokens of each row

    def __len__(self) -> int:
        return len(self.lengths)


def fine_tune(
    model: Model,
    rows: LabelledRows,
    settings: FineTune,
    seed: int,
    progress: Progress,
    *,
    objective: Objective,
    evaluate: Evaluate | None = None,
    saved: Path | None = None,
) -> list[CurvePoint]:
    """Train the model in place on the labels, with its own dropout; the objective's `finish_fine_tuning` comes last.

    Return the learning curve, of four points, where `evaluate` measures one. With a file `saved`, a training that was
    interrupted goes on.
    """
    steps, curve = max(1, round(settings.epochs * len(rows) / settings.batch)), list[CurvePoint]()

    def watch(done: int) -> None:
        if evaluate is not None:
            quality, loss = evaluate(model.eval())
            model.train()
            curve.append(CurvePoint(rows=done * settings.batch, quality=quality, loss=loss))

    def restore_curve(more: Json) -> None:
        curve.extend(CurvePoint(**point) for point in more["curve"])

    checkpoint = None
    if saved is not None:
        checkpoint = Checkpoint(saved, lambda: {"curve": [asdict(point) for point in curve]}, restore_curve)
    torch.manual_seed(seed)
    minimize_loss(
        model.parameters(),
        _backward_step(model, rows, objective),
        rows.lengths,
        epochs=settings.epochs,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        seed=seed,
        progress=progress,
        warmup=WARMUP if settings.warmup is None else settings.warmup,
        watch=watch,
        watch_every=max(1, steps // CURVE_POINTS),
        checkpoint=checkpoint,
    )
    model.eval()
    return curve


def seconds_per_row(model: Model, rows: LabelledRows, settings: FineTune, objective: Objective, seed: int) -> float:
    """Return the seconds in which the model learns one row on this machine; its weights change."""

    def train(steps: int) -> float:
        start = time.perf_counter()
        minimize_loss(
            model.parameters(), _backward_step(model, rows, objective), rows.lengths,
            epochs=steps * settings.batch / len(rows), batch=settings.batch, learning_rate=settings.learning_rate,
            seed=seed,
        )  # fmt: skip
        return time.perf_counter() - start

    train(WARM_STEPS)
    return train(TIMED_STEPS) / (TIMED_STEPS * settings.batch)


def _backward_step(model: Model, rows: LabelledRows, objective: Objective) -> BackwardStep:
    """Return the step that computes the loss on some rows, with the model's own dropout, and backpropagates it."""
    names = ("hidden_dropout_prob", "dropout", "mlp_dropout")  # of each family's config
    rate = next((float(getattr(model.config, name)) for name in names if hasattr(model.config, name)), 0.1)
    forward = open_forward(model.train(), load_family(model.config.model_type), dropout=rate)

    def compute_loss(numbers: np.ndarray) -> torch.Tensor:
        batch = rows.batch_of(numbers)
        return objective.loss(unit_outputs(forward.run_batch(batch).logits, batch["attention_mask"]), batch)

    return make_backward_step(compute_loss)
