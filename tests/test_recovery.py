"""Distillation: what is taught, and that it helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autocompress.config import Recovery
from autocompress.core.recipe import Recipe
from autocompress.data.augmentation import UNLABELLED, Specials, augment
from autocompress.models.families import family_of
from autocompress.models.forward import Forward
from autocompress.models.slicing import Candidate, build_candidate
from autocompress.training.distillation import Targets, distil, pool, taught_layers, teacher_targets
from autocompress.training.least_squares import refit
from autocompress.training.loop import backward, endless_batches, fit, ordered_batches
from tests.models import tiny_batch, tiny_importance, tiny_model
from tests.tiny import FAMILIES

ROWS = 64


def batch_of(rows: np.ndarray) -> dict[str, torch.Tensor]:
    parts = [tiny_batch("bert", rows=1, length=10, seed=int(row)) for row in rows]
    batch = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {**batch, "labels": torch.from_numpy(np.where(rows % 4 == 3, UNLABELLED, rows % 2))}


def test_recovery_brings_a_candidate_nearer_to_its_teacher() -> None:
    model = tiny_model("bert")
    forward = Forward(model, family_of("bert"))
    targets = teacher_targets(forward, batch_of, [10] * ROWS, lambda fraction: None)
    candidate = build_candidate(model, Recipe(depth=2, ffn_sparsity=0.5), tiny_importance(model, "bert"))
    settings = Recovery(epochs=8, learning_rate=2e-3, batch=16)
    before = distance(candidate.model, targets)
    seen: list[float] = []
    distil(
        candidate, targets, batch_of, [10] * ROWS, ROWS, settings, seed=0, progress=seen.append, epochs=settings.epochs
    )
    assert distance(candidate.model, targets) < 0.5 * before
    assert seen[-1] == 1.0
    assert not candidate.model.training


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
def test_a_refit_brings_a_candidate_nearer_to_its_teacher_without_training(family: str, recipe: Recipe) -> None:
    model = tiny_model(family)
    teacher = Forward(model, family_of(family))
    candidate = build_candidate(model, recipe, tiny_importance(model, family))
    batches = [tiny_batch(family, rows=16, length=10, seed=seed) for seed in range(8)]
    before = apart(candidate, teacher, batches)
    seen: list[float] = []
    refit(candidate, teacher, batches, seen.append)
    assert apart(candidate, teacher, batches) < 0.7 * before
    assert seen[-1] == 1.0


def test_a_refit_leaves_a_candidate_that_lost_nothing_as_it_is() -> None:
    model = tiny_model("bert")
    teacher = Forward(model, family_of("bert"))
    candidate = build_candidate(model, Recipe(depth=3), tiny_importance(model, "bert"))
    batches = [tiny_batch("bert", rows=16, length=10, seed=seed) for seed in range(8)]
    refit(candidate, teacher, batches)
    assert apart(candidate, teacher, batches) < 1e-4  # bf16 where the CPU has it


def test_a_refit_does_not_see_padding() -> None:
    model = tiny_model("bert")
    teacher, batch = Forward(model, family_of("bert")), tiny_batch("bert", rows=16, length=10)
    batch["attention_mask"][:, 6:] = 0
    other = {**batch, "input_ids": torch.where(batch["attention_mask"] == 1, batch["input_ids"], 5)}
    candidates = [build_candidate(model, Recipe(depth=2), tiny_importance(model, "bert")) for _ in range(2)]
    for candidate, seen in zip(candidates, (batch, other), strict=True):
        refit(candidate, teacher, [seen])
    for mine, others in zip(*(c.model.parameters() for c in candidates), strict=True):
        torch.testing.assert_close(mine, others, atol=1e-3, rtol=1e-3)


def apart(candidate: Candidate, teacher: Forward, batches: list[dict[str, torch.Tensor]]) -> float:
    """Mean squared distance of the last hidden states at position 0, relative to the teacher's variance."""
    with torch.no_grad():
        own = torch.cat([Forward(candidate.model, candidate.family).batch(batch).hidden[-1] for batch in batches])
        goal = torch.cat([teacher.batch(batch).hidden[-1] for batch in batches])
    return float((own - goal).square().mean() / goal.var())


def distance(model: object, targets: Targets) -> float:
    with torch.no_grad():
        output = Forward(model, family_of("bert")).batch(batch_of(np.arange(ROWS)))
    return float((output.logits - torch.from_numpy(targets.logits)).square().mean())


def test_targets_are_the_teachers_own_outputs_in_the_order_of_the_rows() -> None:
    forward = Forward(tiny_model("bert"), family_of("bert"))
    targets = teacher_targets(forward, batch_of, list(range(ROWS, 0, -1)), lambda fraction: None)
    with torch.no_grad():
        output = forward.batch(batch_of(np.array([5])))
    np.testing.assert_allclose(targets.logits[5], output.logits[0], atol=0.05)  # bf16 where the CPU has it
    assert targets.hidden.shape == (ROWS, 3, 2, 32)
    np.testing.assert_allclose(targets.hidden[5, 0, 0], output.hidden[1][0, 0], atol=0.1)


def test_pooled_states_do_not_see_padding() -> None:
    state = torch.randn(1, 4, 8)
    mask = torch.tensor([[1, 1, 0, 0]])
    other = state.clone()
    other[:, 2:] = 100
    torch.testing.assert_close(pool(state, mask), pool(other, mask))
    torch.testing.assert_close(pool(state, mask)[0, 1], state[0, :2].mean(0))


def test_a_kept_layer_learns_to_stand_for_those_dropped_behind_it() -> None:
    assert taught_layers((0, 2, 5), 6) == [1, 4, 5]
    assert taught_layers((0, 1, 2), 3) == [0, 1, 2]


def test_every_row_comes_once_per_epoch_and_rows_of_like_length_together() -> None:
    lengths = list(np.random.default_rng(0).integers(1, 60, 500))
    batches = endless_batches(lengths, 16, seed=0)
    epoch = [next(batches) for _ in range(-(-500 // 16))]
    assert sorted(np.concatenate(epoch).tolist()) == list(range(500))
    spread = np.mean([np.ptp(np.asarray(lengths)[rows]) for rows in epoch])
    assert spread < 5
    again = endless_batches(lengths, 16, seed=0)
    assert all(np.array_equal(rows, next(again)) for rows in epoch)
    assert sorted(np.concatenate(ordered_batches(lengths, 16)).tolist()) == list(range(500))


def test_a_loss_that_is_no_number_ends_training() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(FloatingPointError, match="loss is nan"):
        fit(
            [weight],
            backward(lambda rows: (weight * float("nan")).sum()),
            [1] * 100,
            epochs=5,
            batch=10,
            learning_rate=1e-3,
            seed=0,
        )


def test_copies_keep_their_form() -> None:
    specials = Specials(frozenset({0, 1, 2}), mask=9)
    rows = [np.array([1, *range(10, 10 + n), 2]) for n in range(1, 30)]
    copies, types = augment(rows, None, 3 * len(rows), specials, seed=0)
    assert types is None
    assert len(copies) == 3 * len(rows)
    longest = np.quantile([len(row) for row in rows], 0.95)
    for copy in copies:
        assert copy[0] == 1
        assert copy[-1] == 2
        assert len(copy) >= 3
        assert not set(copy[1:-1]) & {1, 2}
    assert any(9 in copy for copy in copies)
    assert any(len(copy) > len(row) for copy, row in zip(copies, rows * 3, strict=True))
    assert max(len(copy) for copy in copies) <= max(longest, len(rows[-1]))
    again, _ = augment(rows, None, 3 * len(rows), specials, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(copies, again, strict=True))


def test_copies_of_pairs_only_hide_words() -> None:
    specials = Specials(frozenset({0, 1, 2}), mask=9)
    rows = [np.array([1, *range(10, 20), 2, *range(20, 30), 2])] * 5
    types = [np.array([0] * 12 + [1] * 11)] * 5
    copies, kinds = augment(rows, types, 10, specials, seed=0)
    assert kinds is not None
    assert all(np.array_equal(kind, types[0]) for kind in kinds)
    for copy in copies:
        assert np.all((copy == rows[0]) | (copy == 9))
        assert np.array_equal(np.flatnonzero(copy == 2), np.flatnonzero(rows[0] == 2))
