"""Fine-tune a pretrained model on the labels of the task, so that it becomes the teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from autocompress.config import FineTune
from autocompress.models.families import Family
from autocompress.models.forward import open_forward
from autocompress.tasks import Objective, unit_outputs
from autocompress.training.loop import Progress, make_backward_step, minimize_loss

VERSION = 1  # of the stage `teacher`


def fine_tune(
    model: Any,
    family: Family,
    batch_of: Callable[[np.ndarray], dict[str, torch.Tensor]],
    lengths: list[int],
    settings: FineTune,
    seed: int,
    progress: Progress,
    *,
    objective: Objective,
) -> None:
    """Train the model in place on the labels, with its own dropout; the objective's `finish_fine_tuning` comes last."""
    torch.manual_seed(seed)
    names = ("hidden_dropout_prob", "dropout", "mlp_dropout")  # of each family's config
    rate = next((float(getattr(model.config, name)) for name in names if hasattr(model.config, name)), 0.1)
    forward = open_forward(model.train(), family, dropout=rate)

    def compute_loss(rows: np.ndarray) -> torch.Tensor:
        batch = batch_of(rows)
        return objective.loss(unit_outputs(forward.run_batch(batch).logits, batch["attention_mask"]), batch)

    minimize_loss(
        model.parameters(),
        make_backward_step(compute_loss),
        lengths,
        epochs=settings.epochs,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        seed=seed,
        progress=progress,
    )
    model.eval()
