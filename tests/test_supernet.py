"""The super-net: its sub-nets equal candidates, and its training brings all of them closer to the teacher."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from autocompress.config import Recovery
from autocompress.core.recipe import Recipe
from autocompress.models.families import load_family
from autocompress.models.forward import Forward
from autocompress.techniques.building import build_candidate
from autocompress.training.distillation import compute_targets
from autocompress.training.supernet import SuperNet, train_supernet
from tests.models import OBJECTIVE, tiny_batch, tiny_importance, tiny_model
from tests.tiny import FAMILIES

RECIPES = [
    Recipe(depth=depth, head_sparsity=heads, ffn_sparsity=neurons)
    for depth, heads, neurons in ((3, 0.5, 0.0), (3, 0.0, 0.5), (2, 0.5, 0.5), (1, 0.75, 0.75))
]


@pytest.mark.parametrize("family", FAMILIES)
def test_subnet_equals_the_candidate_cut_from_the_supernet(family: str) -> None:
    model, batch = tiny_model(family), tiny_batch(family)
    importance = tiny_importance(model, family)
    net = SuperNet(model, load_family(family), importance)
    with torch.no_grad():
        for recipe in [Recipe(depth=3), *RECIPES]:
            candidate = build_candidate(net.restore_teacher_order(), recipe, importance)
            cut = net.cut(recipe).run_batch(batch).logits
            torch.testing.assert_close(Forward(candidate.model, candidate.family).run_batch(batch).logits, cut)
        whole = Forward(model, load_family(family)).run_batch(batch).logits
        torch.testing.assert_close(net.cut(Recipe(depth=3)).run_batch(batch).logits, whole, atol=1e-5, rtol=1e-4)


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set torch's number of threads during the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_train_supernet_brings_all_candidates_closer_to_the_teacher(threads: int) -> None:
    rows = 64
    model = tiny_model("bert")
    teacher = Forward(model, load_family("bert"))
    parts = [tiny_batch("bert", rows=1, length=10, seed=seed) for seed in range(rows)]

    def batch_of(indices: np.ndarray) -> dict[str, torch.Tensor]:
        batch = {name: torch.cat([parts[int(index)][name] for index in indices]) for name in parts[0]}
        return batch | {"labels": torch.from_numpy(indices % 2)}

    targets = compute_targets(teacher, batch_of, [10] * rows, lambda fraction: None)
    net = SuperNet(model, load_family("bert"), tiny_importance(model, "bert"))

    def distance(recipe: Recipe) -> float:
        with torch.no_grad():
            logits = net.cut(recipe).run_batch(batch_of(np.arange(rows))).logits
        return float((logits - torch.from_numpy(targets.outputs.values)).square().mean())

    before = [distance(recipe) for recipe in RECIPES]
    fractions: list[float] = []
    train_supernet(
        net, RECIPES[-1], lambda rng: RECIPES[int(rng.integers(3))], targets, batch_of, [10] * rows,
        Recovery(batch=16, learning_rate=1e-3), epochs=12, seed=0, objective=OBJECTIVE, progress=fractions.append,
    )  # fmt: skip
    after = [distance(recipe) for recipe in RECIPES]
    assert all(new < 0.75 * old for new, old in zip(after, before, strict=True)), (before, after)
    assert fractions[-1] == 1.0
    assert torch.get_num_threads() == threads
