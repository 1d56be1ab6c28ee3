"""The life of a trial: its stages, and what they cost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autocompress.config import read_plan
from autocompress.core.recipe import Recipe
from autocompress.search.stage_timer import StageTimer
from autocompress.search.trial_pipeline import TrialPipeline
from autocompress.storage.artifact_store import Store
from autocompress.storage.stage_cache import StageCache
from tests.tiny import tiny_study


def silent(stage: str, fraction: float) -> None:
    """Say nothing."""


def test_what_a_neighbour_cannot_give_after_all_is_trained_as_if_it_had_never_been_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = {"supernet": False, "rungs": False}
    plan = read_plan(tiny_study(tmp_path, teacher={"model": "./teacher"}, engine=engine))
    recipe, theirs = Recipe(depth=1, ffn_sparsity=0.5), tmp_path / "theirs"

    def weights(store: Store) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = TrialPipeline(plan, store).rebuild(recipe, 2, silent).model.state_dict()
        return found

    alone = weights(Store(theirs))
    monkeypatch.setattr(
        StageCache, "_link_from_sibling", lambda *_: False
    )  # it is listed, and removed as we come for it
    again = weights(Store(tmp_path / "mine", [theirs]))
    for name, tensor in alone.items():
        torch.testing.assert_close(again[name], tensor, msg=name)


def test_other_bits_of_trained_weights_are_measured_quickly(tmp_path: Path) -> None:
    engine = {"supernet": False, "rungs": False}
    plan = read_plan(tiny_study(tmp_path, teacher={"model": "./teacher"}, engine=engine))
    life = TrialPipeline(plan, Store(tmp_path / "artifacts"))
    life.run_teacher(silent)
    recipes = [Recipe(depth=1, weight_bits=32), Recipe(depth=1, weight_bits=8), Recipe(depth=2, weight_bits=8)]
    found = [life.run_trial(recipe, 2, None, silent).measurement for recipe in recipes]
    assert [seen is not None and seen.memory_mb is not None for seen in found] == [True, False, True]


def test_a_stage_within_a_stage_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = StageTimer(silent)
    with clock.stage("recovery"):
        now[0] += 1
        with clock.stage("teacher outputs"):
            now[0] += 10
            with clock.stage("recovery"):
                now[0] += 100
        now[0] += 1000
    assert clock.seconds == {"recovery": 1101, "teacher outputs": 10}


def test_trained_weights_leave_out_the_word_table_which_the_teacher_keeps(tmp_path: Path) -> None:
    plan = read_plan(tiny_study(tmp_path, teacher={"model": "./teacher"}, recovery={"epochs": 1, "copies": 0}))
    store = Store(tmp_path / "artifacts")
    recipe = Recipe(depth=1, ffn_sparsity=0.5)
    pipeline = TrialPipeline(plan, store)
    trained = pipeline.rebuild(recipe, 2, silent).model.state_dict()
    table = "bert.embeddings.word_embeddings.weight"
    files = [
        path for kind in ("supernet", "recovered") for path in store.root.glob(f"stages/{kind}/*/model.safetensors")
    ]
    assert len(files) == 4  # the super-net, and three rungs
    for path in files:
        assert table not in load_file(path)
    assert torch.equal(trained[table], pipeline.context.teacher.model.state_dict()[table])
    again = TrialPipeline(plan, store).rebuild(recipe, 2, silent).model.state_dict()
    for name, tensor in trained.items():
        torch.testing.assert_close(again[name], tensor, msg=name)


def test_candidates_that_keep_every_layer_learn_at_their_own_rate(tmp_path: Path) -> None:
    recovery = {"epochs": 1, "copies": 0, "learning_rate": 1e-2, "whole_depth_learning_rate": 1e-12}
    plan = read_plan(
        tiny_study(tmp_path, teacher={"model": "./teacher"}, recovery=recovery, engine={"supernet": False})
    )
    pipeline = TrialPipeline(plan, Store(tmp_path / "artifacts"))
    moved = {}
    for depth in (1, 3):  # of the tiny teacher
        recipe = Recipe(depth=depth, ffn_sparsity=0.5)
        untrained, trained = (dict(pipeline.rebuild(recipe, rung, silent).model.named_parameters()) for rung in (0, 2))
        moved[depth] = max(float((trained[name] - value).detach().abs().max()) for name, value in untrained.items())
    assert moved[3] < 1e-6 < moved[1]
