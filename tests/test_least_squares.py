"""Least squares: it brings a sliced candidate closer to the teacher without training."""

from __future__ import annotations

import pytest
import torch

from autocompress.core.recipe import Recipe
from autocompress.models.candidate import Candidate
from autocompress.models.families import load_family
from autocompress.models.forward import Forward
from autocompress.techniques.building import build_candidate
from autocompress.training.least_squares import fit_least_squares
from tests.models import tiny_batch, tiny_importance, tiny_model
from tests.tiny import FAMILIES


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(depth=3, ffn_sparsity=0.5),
        Recipe(depth=2, head_sparsity=0.5),
        Recipe(depth=3, attention="local", attention_window=4),
    ],
    ids=lambda recipe: recipe.describe(),
)
@pytest.mark.parametrize("family", FAMILIES)
def test_fit_least_squares_brings_a_candidate_closer_to_its_teacher(family: str, recipe: Recipe) -> None:
    importance = tiny_importance(tiny_model(family), family)
    # under local attention the first token still reads all others: the states of all tokens are compared
    is_local = recipe["attention"] == "local"
    model = tiny_model(family, f"AutoModelFor{'Token' if is_local else 'Sequence'}Classification")
    teacher = Forward(model, load_family(family))
    candidate = build_candidate(model, recipe, importance)
    batches = [tiny_batch(family, rows=16, length=10, seed=seed) for seed in range(8)]
    before = distance(candidate, teacher, batches)
    fractions: list[float] = []
    fit_least_squares(candidate, teacher, batches, fractions.append)
    limit = 0.95 if family == "albert" else 0.7  # one matrix is fitted to the targets of all layers
    assert distance(candidate, teacher, batches) < limit * before
    assert fractions[-1] == 1.0


def test_fit_least_squares_does_not_change_an_unsliced_candidate() -> None:
    model = tiny_model("bert")
    teacher = Forward(model, load_family("bert"))
    candidate = build_candidate(model, Recipe(depth=3), tiny_importance(model, "bert"))
    batches = [tiny_batch("bert", rows=16, length=10, seed=seed) for seed in range(8)]
    fit_least_squares(candidate, teacher, batches)
    assert distance(candidate, teacher, batches) < 1e-4  # bf16 where the CPU has it


def test_fit_least_squares_ignores_padding() -> None:
    model = tiny_model("bert")
    teacher, batch = Forward(model, load_family("bert")), tiny_batch("bert", rows=16, length=10)
    batch["attention_mask"][:, 6:] = 0
    repadded = {**batch, "input_ids": torch.where(batch["attention_mask"] == 1, batch["input_ids"], 5)}
    candidates = [build_candidate(model, Recipe(depth=2), tiny_importance(model, "bert")) for _ in range(2)]
    for candidate, inputs in zip(candidates, (batch, repadded), strict=True):
        fit_least_squares(candidate, teacher, [inputs])
    for first, second in zip(*(candidate.model.parameters() for candidate in candidates), strict=True):
        torch.testing.assert_close(first, second, atol=1e-3, rtol=1e-3)


def distance(candidate: Candidate, teacher: Forward, batches: list[dict[str, torch.Tensor]]) -> float:
    """Return the mean squared distance of the tokens' last hidden states, relative to the teacher's variance."""
    forward = Forward(candidate.model, candidate.family)
    states, targets = [], []
    with torch.no_grad():
        for batch in batches:
            state = forward.run_batch(batch).hidden[-1]
            tokens = batch["attention_mask"][:, : state.shape[1]].bool()
            states.append(state[tokens])
            targets.append(teacher.run_batch(batch).hidden[-1][tokens])
    return float((torch.cat(states) - torch.cat(targets)).square().mean() / torch.cat(targets).var())
