"""Forward pass, importance and slicing, for every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autocompress.core.recipe import Recipe
from autocompress.models.families import family_of
from autocompress.models.forward import Forward, Gates
from autocompress.models.importance import load, removal_order, save
from autocompress.models.slicing import Importance, build_candidate
from autocompress.techniques.pruning._rank import keep_best
from tests.models import tiny_batch, tiny_candidate, tiny_importance, tiny_model
from tests.tiny import FAMILIES


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_lean_forward_pass_gives_the_logits_of_transformers(family: str, pairs: bool) -> None:
    model, batch = tiny_model(family), tiny_batch(family, pairs=pairs and family != "distilbert")
    if family == "roberta":
        batch.pop("token_type_ids", None)  # its vocabulary of types has one entry
    with torch.no_grad():
        lean = Forward(model, family_of(model.config.model_type))(**batch).logits
        torch.testing.assert_close(lean, model(**batch).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sliced_model_runs_in_transformers_own_code(family: str) -> None:
    candidate, batch = tiny_candidate(family, depth=2, head_sparsity=0.5, ffn_sparsity=0.5), tiny_batch(family)
    assert sum(candidate.heads) == 4
    assert sum(candidate.neurons) == 64
    with torch.no_grad():
        lean = Forward(candidate.model, candidate.family)(**batch).logits
        torch.testing.assert_close(lean, candidate.model(**batch).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_sliced_out_is_what_a_closed_gate_switches_off(family: str) -> None:
    """Slicing and masking are two ways to the same function; only slicing makes the model smaller."""
    model, batch = tiny_model(family), tiny_batch(family)
    importance = tiny_importance(model, family)
    candidate = build_candidate(model, Recipe(depth=3, head_sparsity=0.5, ffn_sparsity=0.25), importance)
    rows = len(batch["input_ids"])
    heads, neurons = keep_best(importance.heads, 0.5), keep_best(importance.neurons, 0.75, 16)
    gates = Gates(
        [torch.from_numpy(layer).float().expand(rows, -1) for layer in heads],
        [torch.from_numpy(layer).float().expand(rows, -1) for layer in neurons],
    )
    with torch.no_grad():
        masked = Forward(model, candidate.family)(**batch, gates=gates).logits
        sliced = Forward(candidate.model, candidate.family)(**batch).logits
    torch.testing.assert_close(sliced, masked, atol=1e-5, rtol=1e-4)
    assert candidate.parameters < sum(p.numel() for p in model.parameters())


def test_depth_keeps_the_layers_that_are_given_up_last_and_leaves_the_teacher_alone() -> None:
    model = tiny_model("bert", layers=4)
    importance = Importance(np.ones((4, 4)), np.ones((4, 64)), removal=(2, 0, 3, 1))
    candidate = build_candidate(model, Recipe(depth=2), importance)
    assert candidate.kept_layers == (1, 3)
    assert len(model.bert.encoder.layer) == 4
    assert candidate.model.config.num_hidden_layers == 2
    kept = [model.bert.encoder.layer[index].output.dense.weight for index in (1, 3)]
    for layer, weight in zip(candidate.model.bert.encoder.layer, kept, strict=True):
        torch.testing.assert_close(layer.output.dense.weight, weight)


def test_depth_of_distilbert_is_in_its_own_config_key() -> None:
    assert tiny_candidate("distilbert", depth=1).model.config.n_layers == 1


def test_a_neutral_recipe_leaves_the_logits_untouched() -> None:
    model, batch = tiny_model("bert"), tiny_batch("bert")
    candidate = build_candidate(model, Recipe(depth=3), tiny_importance(model, "bert"))
    with torch.no_grad():
        assert torch.equal(candidate.model(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("decision", ["head_sparsity", "ffn_sparsity"])
def test_more_sparsity_never_has_more_parameters(decision: str) -> None:
    counts = [tiny_candidate(**{decision: value}).parameters for value in (0.0, 0.25, 0.5, 0.75, 0.95)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_every_layer_keeps_one_head_even_where_the_others_are_all_better() -> None:
    scores = np.array([[1.0, 2.0, 3.0, 4.0], [100.0, 200.0, 300.0, 400.0]])
    kept = keep_best(scores, 0.5)
    assert kept.sum() == 4
    assert kept[0].tolist() == [False, False, False, True]


def test_neurons_are_kept_in_whole_groups() -> None:
    scores = np.random.default_rng(0).random((3, 64))
    counts = keep_best(scores, 0.5, group=16).sum(axis=1)
    assert counts.sum() == 96
    assert all(count % 16 == 0 and count >= 16 for count in counts)


def test_heads_and_neurons_that_nobody_reads_are_worth_nothing() -> None:
    model = tiny_model("bert")
    with torch.no_grad():
        model.bert.encoder.layer[1].attention.output.dense.weight[:, 8:16] = 0  # head 1
        model.bert.encoder.layer[0].output.dense.weight[:, 5] = 0
    importance = tiny_importance(model, "bert")
    assert importance.heads.shape == (3, 4)
    assert np.flatnonzero(importance.heads[1] == 0).tolist() == [1]
    assert np.flatnonzero(importance.neurons[0] == 0).tolist() == [5]


def test_a_layer_that_does_nothing_is_given_up_first() -> None:
    model = tiny_model("bert", layers=4)
    layer = model.bert.encoder.layer[2]
    with torch.no_grad():  # output 0, and the norms see an input that is already normal
        for dense in (layer.attention.output.dense, layer.output.dense):
            dense.weight.zero_()
            dense.bias.zero_()
        for norm in (
            model.bert.encoder.layer[1].output.LayerNorm,
            layer.attention.output.LayerNorm,
            layer.output.LayerNorm,
        ):
            norm.weight.fill_(1.0)
            norm.bias.zero_()
    batches = [{**tiny_batch("bert"), "labels": torch.zeros(4, dtype=torch.int64)}]
    order = removal_order(Forward(model, family_of("bert")), batches)
    assert order[0] == 2
    assert sorted(order) == [0, 1, 2, 3]


def test_importance_is_the_same_after_saving(tmp_path: object) -> None:
    importance = Importance(np.ones((2, 3)), np.ones((2, 4)), (1, 0))
    path = tmp_path / "importance.npz"  # type: ignore[operator]  # pytest's Path
    save(importance, path)
    assert load(path).removal == (1, 0)
    assert np.array_equal(load(path).heads, importance.heads)
