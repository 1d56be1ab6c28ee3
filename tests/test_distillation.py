"""Distillation: its targets, and that it brings a candidate closer to the teacher."""

from __future__ import annotations

import numpy as np
import torch

from autocompress.config import Recovery
from autocompress.core.recipe import Recipe
from autocompress.models.families import load_family
from autocompress.models.forward import Forward
from autocompress.tasks._class_objective import UNLABELLED
from autocompress.techniques.building import build_candidate
from autocompress.training.distillation import Targets, compute_targets, distil, match_layers, pool_states
from tests.models import OBJECTIVE, tiny_batch, tiny_importance, tiny_model

ROWS = 64


def test_distil_brings_a_candidate_closer_to_its_teacher() -> None:
    model = tiny_model("bert")
    forward = Forward(model, load_family("bert"))
    targets = compute_targets(forward, batch_of, [10] * ROWS, lambda fraction: None)
    candidate = build_candidate(model, Recipe(depth=2, ffn_sparsity=0.5), tiny_importance(model, "bert"))
    settings = Recovery(epochs=8, learning_rate=2e-3, batch=16)
    before = distance(candidate.model, targets)
    fractions: list[float] = []
    distil(
        candidate,
        targets,
        batch_of,
        [10] * ROWS,
        ROWS,
        settings,
        seed=0,
        progress=fractions.append,
        epochs=settings.epochs,
        objective=OBJECTIVE,
    )
    assert distance(candidate.model, targets) < 0.5 * before
    assert fractions[-1] == 1.0
    assert not candidate.model.training


def test_compute_targets_returns_the_teachers_outputs_in_row_order() -> None:
    forward = Forward(tiny_model("bert"), load_family("bert"))
    targets = compute_targets(forward, batch_of, list(range(ROWS, 0, -1)), lambda fraction: None)
    with torch.no_grad():
        output = forward.run_batch(batch_of(np.array([5])))
    np.testing.assert_allclose(targets.outputs.values[5], output.logits[0], atol=0.05)  # bf16 where the CPU has it
    assert targets.hidden.shape == (ROWS, 3, 2, 32)
    np.testing.assert_allclose(targets.hidden[5, 0, 0], output.hidden[1][0, 0], atol=0.1)


def test_pool_states_ignores_padding() -> None:
    state = torch.randn(1, 4, 8)
    mask = torch.tensor([[1, 1, 0, 0]])
    padded = state.clone()
    padded[:, 2:] = 100
    torch.testing.assert_close(pool_states(state, mask), pool_states(padded, mask))
    torch.testing.assert_close(pool_states(state, mask)[0, 1], state[0, :2].mean(0))


def test_match_layers_returns_the_last_layer_before_the_next_kept_one() -> None:
    assert match_layers((0, 2, 5), 6) == [1, 4, 5]
    assert match_layers((0, 1, 2), 3) == [0, 1, 2]


def batch_of(rows: np.ndarray) -> dict[str, torch.Tensor]:
    """Build a batch of rows; every fourth row has no label."""
    parts = [tiny_batch("bert", rows=1, length=10, seed=int(row)) for row in rows]
    batch = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {**batch, "labels": torch.from_numpy(np.where(rows % 4 == 3, UNLABELLED, rows % 2))}


def distance(model: object, targets: Targets) -> float:
    """Return the mean squared distance of the logits to the targets."""
    with torch.no_grad():
        output = Forward(model, load_family("bert")).run_batch(batch_of(np.arange(ROWS)))
    return float((output.logits - torch.from_numpy(targets.outputs.values)).square().mean())
