"""Forward pass, candidates and the ranking of what they keep, for every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autocompress.core.recipe import Recipe
from autocompress.deployment.folded_forward import FoldedForward
from autocompress.models.families import load_family
from autocompress.models.forward import Forward, Gates
from autocompress.models.importance import Importance
from autocompress.techniques.building import build_candidate
from autocompress.techniques.structure import best_units, count_best
from tests.models import tiny_batch, tiny_candidate, tiny_importance, tiny_model
from tests.tiny import FAMILIES, WITH_TYPES


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_returns_the_logits_of_transformers(family: str, pairs: bool) -> None:
    model, batch = tiny_model(family), tiny_batch(family, pairs=pairs and family in WITH_TYPES)
    with torch.no_grad():
        logits = Forward(model, load_family(model.config.model_type))(**batch).logits
        torch.testing.assert_close(logits, model(**batch).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_forward_classifies_tokens_as_transformers_does(family: str) -> None:
    model, batch = tiny_model(family, "AutoModelForTokenClassification", labels=5), tiny_batch(family)
    with torch.no_grad():
        logits = Forward(model, load_family(model.config.model_type))(**batch).logits
        assert logits.shape == (*batch["input_ids"].shape, 5)
        assert logits.std() > 0.1
        tokens = batch["attention_mask"].bool()  # RoBERTa gives padding a position of its own
        torch.testing.assert_close(logits[tokens], model(**batch).logits[tokens], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_pools_a_base_model(family: str, pooling: str, normalize: bool) -> None:
    model, batch = tiny_model(family, "AutoModel"), tiny_batch(family)
    model.config.sentence_embedding = {"pooling": pooling, "normalize": normalize}
    weights = batch["attention_mask"].float()
    if pooling == "cls":
        weights = torch.zeros_like(weights).index_fill(1, torch.tensor([0]), 1.0)
    with torch.no_grad():
        pooled = Forward(model, load_family(model.config.model_type))(**batch).logits
        states = model(**batch).last_hidden_state
    expected = (states * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True)
    expected = torch.nn.functional.normalize(expected) if normalize else expected
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["AutoModelForTokenClassification", "AutoModel"])
@pytest.mark.parametrize("family", FAMILIES)
def test_folded_forward_equals_the_plain_one_for_every_head(family: str, head: str) -> None:
    model, batch = tiny_model(family, head), tiny_batch(family)
    model.config.sentence_embedding = {"pooling": "mean", "normalize": True}
    plain = Forward(model, load_family(model.config.model_type))
    with torch.no_grad():
        expected = plain(**batch).logits
        folded = FoldedForward(model, plain.family)(**batch).logits
    torch.testing.assert_close(folded, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_sliced_model_runs_in_transformers(family: str) -> None:
    candidate, batch = tiny_candidate(family, depth=2, head_sparsity=0.5, ffn_sparsity=0.5), tiny_batch(family)
    assert sum(candidate.heads) == 4
    assert sum(candidate.neurons) == 64
    with torch.no_grad():
        logits = Forward(candidate.model, candidate.family)(**batch).logits
        torch.testing.assert_close(logits, candidate.model(**batch).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_slicing_equals_closed_gates(family: str) -> None:
    """Slicing and masking compute the same function; only slicing makes the model smaller."""
    model, batch = tiny_model(family), tiny_batch(family)
    importance = tiny_importance(model, family)
    candidate = build_candidate(model, Recipe(depth=3, head_sparsity=0.5, ffn_sparsity=0.25), importance)
    rows = len(batch["input_ids"])
    heads, neurons = mask_of_best(importance.heads, 0.5), mask_of_best(importance.neurons, 0.75, 16)
    gates = Gates(
        [torch.from_numpy(layer).float().expand(rows, -1) for layer in heads],
        [torch.from_numpy(layer).float().expand(rows, -1) for layer in neurons],
    )
    with torch.no_grad():
        masked = Forward(model, candidate.family)(**batch, gates=gates).logits
        sliced = Forward(candidate.model, candidate.family)(**batch).logits
    torch.testing.assert_close(sliced, masked, atol=1e-5, rtol=1e-4)
    assert candidate.parameters < sum(p.numel() for p in model.parameters())


def test_depth_keeps_the_layers_removed_last_without_changing_the_teacher() -> None:
    model = tiny_model("bert", layers=4)
    importance = Importance(np.ones((4, 4)), np.ones((4, 64)), removal=(2, 0, 3, 1))
    candidate = build_candidate(model, Recipe(depth=2), importance)
    assert candidate.kept_layers == (1, 3)
    assert len(model.bert.encoder.layer) == 4
    assert candidate.model.config.num_hidden_layers == 2
    kept = [model.bert.encoder.layer[index].output.dense.weight for index in (1, 3)]
    for layer, weight in zip(candidate.model.bert.encoder.layer, kept, strict=True):
        torch.testing.assert_close(layer.output.dense.weight, weight)


def test_depth_sets_the_config_key_of_distilbert() -> None:
    assert tiny_candidate("distilbert", depth=1).model.config.n_layers == 1


def test_neutral_recipe_does_not_change_the_logits() -> None:
    model, batch = tiny_model("bert"), tiny_batch("bert")
    candidate = build_candidate(model, Recipe(depth=3), tiny_importance(model, "bert"))
    with torch.no_grad():
        assert torch.equal(candidate.model(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("decision", ["head_sparsity", "ffn_sparsity"])
def test_parameters_decrease_with_sparsity(decision: str) -> None:
    counts = [tiny_candidate(**{decision: value}).parameters for value in (0.0, 0.25, 0.5, 0.75, 0.95)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def mask_of_best(scores: np.ndarray, fraction: float, group: int = 1) -> np.ndarray:
    """The kept units (layers, units)."""
    counts = count_best(scores, fraction, group)
    kept = [best_units(row, count) for row, count in zip(scores, counts, strict=True)]
    return np.array([np.isin(np.arange(scores.shape[1]), units) for units in kept])


def test_count_best_keeps_one_unit_per_layer() -> None:
    scores = np.array([[1.0, 2.0, 3.0, 4.0], [100.0, 200.0, 300.0, 400.0]])
    kept = mask_of_best(scores, 0.5)
    assert kept.sum() == 4
    assert kept[0].tolist() == [False, False, False, True]


def test_count_best_keeps_whole_groups() -> None:
    scores = np.random.default_rng(0).random((3, 64))
    counts = count_best(scores, 0.5, group=16)
    assert counts.sum() == 96
    assert all(count % 16 == 0 and count >= 16 for count in counts)
