"""Families, blocks and attentions: every entry keeps its contract, and every family goes from build to export."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autocompress
from autocompress import benchmarking
from autocompress.actions.verify import TOLERANCE
from autocompress.config import Recovery, read_plan
from autocompress.core.errors import UsageError
from autocompress.core.recipe import Recipe
from autocompress.deployment.deploy import deploy
from autocompress.deployment.transformers_form import save_candidate
from autocompress.models.attentions import ATTENTIONS
from autocompress.models.blocks import BLOCKS
from autocompress.models.candidate import Candidate
from autocompress.models.families import FAMILIES as ENTRIES
from autocompress.models.families import load_family
from autocompress.models.forward import Forward
from autocompress.models.model_config import read_config
from autocompress.runtimes import RUNTIMES, onnxruntime
from autocompress.search.plan_check import prepare
from autocompress.techniques.building import build_candidate
from autocompress.training.distillation import compute_targets, distil
from tests.conftest import ROOT
from tests.models import OBJECTIVE, deployed, interface, tiny_batch, tiny_candidate, tiny_importance, tiny_model
from tests.tiny import FAMILIES, is_defined, tiny_study, tiny_tokenizer

# Entries --------------------------------------------------------------------------------------------------------------


def test_tiny_models_cover_every_family() -> None:
    assert sorted(FAMILIES) == ENTRIES.names()


@pytest.mark.parametrize("name", ENTRIES.names())
def test_family_names_a_block_and_a_head_for_each_kind_of_output(name: str) -> None:
    family = ENTRIES.load(name)
    assert family.model_types and family.block in BLOCKS.names()
    assert {"ForSequenceClassification", "ForTokenClassification"} <= family.heads.keys()
    assert load_family(family.model_types[0]) is family
    known = {feature for attention in ATTENTIONS.entries().values() for feature in attention.excludes}
    assert set(family.features) <= known  # a feature that no attention names would be a misspelled word
    assert ENTRIES.summary(name)


def test_at_most_three_attentions_are_undefined_with_a_family() -> None:
    undefined = [(f, a) for f in FAMILIES for a in ATTENTIONS.names() if not is_defined(f, attention=a)]
    assert undefined == [("mpnet", "linear")]


def test_entries_import_no_torch() -> None:
    program = (
        "import sys; from autocompress.models.families import FAMILIES; from autocompress.models.blocks import BLOCKS;"
        "from autocompress.models.attentions import ATTENTIONS;"
        "[registry.entries() for registry in (FAMILIES, BLOCKS, ATTENTIONS)]; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_of_a_layer_have_the_shapes_of_their_contract(family: str) -> None:
    model = tiny_model(family)
    layers = load_family(family).parts(model)
    assert len(layers) == 3
    for parts in layers:
        width = parts.heads * parts.head_size
        assert (parts.heads, parts.neurons, width) == (4, 64, 32)
        assert parts.query.weight.shape == parts.key.weight.shape == parts.value.weight.shape == (width, 32)
        assert parts.output.weight.shape == (32, width)
        assert parts.ffn_in.weight.shape == (64, 32)
        assert parts.ffn_out.weight.shape == (32, 64)


@pytest.mark.parametrize("name", BLOCKS.names())
def test_block_views_and_slices_the_same_heads_and_neurons(name: str) -> None:
    block = BLOCKS.load(name)
    family = next(family for family in FAMILIES if load_family(family).block == name)
    viewed, sliced = (load_family(family).parts(tiny_model(family))[1] for _ in range(2))
    view = block.view_first(viewed, 2, 48)
    block.keep_heads(sliced, np.arange(2))
    block.keep_neurons(sliced, np.arange(48))
    assert (view.heads, view.neurons) == (2, 48)
    for role in ("output", "ffn_out"):
        assert torch.equal(getattr(view, role).weight, getattr(sliced, role).weight)
    states = torch.randn(2, 5, 32)
    with torch.no_grad():
        model = tiny_model(family)
        again = load_family(family).parts(model)[1]
        block.keep_neurons(again, np.arange(48))
        torch.testing.assert_close(block.inner(view, states), block.inner(load_family(family).parts(model)[1], states))
        torch.testing.assert_close(block.inner(block.fold(view), states), block.inner(view, states))


# From build to export -------------------------------------------------------------------------------------------------

PACKED: tuple[dict[str, Any], ...] = (
    {"depth": 2, "head_sparsity": 0.5, "ffn_sparsity": 0.5, "weight_bits": 4, "embedding_bits": 4},
    {"attention": "local", "attention_window": 4, "head_sparsity": 0.25, "weight_bits": 8, "embedding_bits": 8},
    {"depth": 2, "attention": "linear", "ffn_sparsity": 0.25},
)
SINGLE: tuple[dict[str, Any], ...] = (
    {"depth": 1},
    {"head_sparsity": 0.5},
    {"ffn_sparsity": 0.5},
    {"attention": "local", "attention_window": 6},
    {"attention": "linear"},
    {"weight_bits": 8},
    {"weight_bits": 4},
    {"embedding_bits": 8},
    {"embedding_bits": 4},
)


def carry_through(family: str, decisions: dict[str, Any], folder: Path) -> None:
    """Build, train one step, export, reload in the transformers form, and compare all outputs."""
    candidate = train_one_step(family, decisions)
    batch = tiny_batch(family, rows=12, length=13)
    with torch.no_grad():
        expected = Forward(candidate.model, candidate.family)(**batch).logits.numpy()
    assert expected.std() > 0.5  # outputs that hardly differ would make any comparison pass
    form = folder / "form"
    form.mkdir()
    save_candidate(candidate, tiny_tokenizer(family), interface(), form)
    with torch.no_grad():
        reloaded = autocompress.load_model(form)(**batch).logits.numpy()
    np.testing.assert_allclose(reloaded, expected, atol=1e-4)
    artifact = deployed(candidate, folder / "artifact", family)
    session = onnxruntime.open_session(artifact, 1)
    exact = candidate.recipe["weight_bits"] == candidate.recipe["embedding_bits"] == 32
    logits = session.run({name: tensor.numpy() for name, tensor in batch.items()})
    if exact:
        np.testing.assert_allclose(logits, expected, atol=1e-3)
    else:
        assert np.corrcoef(logits.ravel(), expected.ravel())[0, 1] > 0.7
    with np.load(artifact / "check.npz") as check:
        for number in range(3):
            ids = check[f"input_ids_{number}"]
            again = session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
            np.testing.assert_allclose(again, check[f"logits_{number}"], atol=TOLERANCE)


def train_one_step(family: str, decisions: dict[str, Any]) -> Candidate:
    """Build the candidate of a teacher with large logits and train it for one step."""
    model = tiny_model(family, spread=0.3)
    with torch.no_grad():
        getattr(model.classifier, "out_proj", model.classifier).weight.mul_(6.0)
    candidate = build_candidate(model, Recipe(**{"depth": 3, **decisions}), tiny_importance(model, family))
    parts = [tiny_batch(family, rows=1, length=10, seed=seed) for seed in range(8)]

    def batch_of(rows: np.ndarray) -> dict[str, torch.Tensor]:
        batch = {name: torch.cat([parts[int(row)][name] for row in rows]) for name in parts[0]}
        return batch | {"labels": torch.from_numpy(rows % 2)}

    before = [parameter.detach().clone() for parameter in candidate.model.parameters()]
    targets = compute_targets(Forward(model, candidate.family), batch_of, [10] * 8, lambda fraction: None)
    settings = Recovery(batch=8, learning_rate=1e-3)
    distil(candidate, targets, batch_of, [10] * 8, 8, settings, 0, epochs=1, objective=OBJECTIVE)
    assert any(not torch.equal(a, b) for a, b in zip(before, candidate.model.parameters(), strict=True))
    return candidate


@pytest.mark.parametrize("family", FAMILIES)
def test_family_goes_from_build_to_export_with_several_decisions(family: str, tmp_path: Path) -> None:
    for number, decisions in enumerate(PACKED):
        if is_defined(family, **decisions):
            (tmp_path / str(number)).mkdir()
            carry_through(family, decisions, tmp_path / str(number))


@pytest.mark.slow
@pytest.mark.parametrize("decisions", SINGLE, ids=lambda decisions: Recipe(**decisions).describe())
@pytest.mark.parametrize("family", FAMILIES)
def test_family_goes_from_build_to_export_with_each_decision(
    family: str, decisions: dict[str, Any], tmp_path: Path
) -> None:
    if not is_defined(family, **decisions):
        pytest.skip("undefined, and refused by name")
    carry_through(family, decisions, tmp_path)


# ModernBERT -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernbert_pools_as_its_config_says(pooling: str) -> None:
    model, batch = tiny_model("modernbert"), tiny_batch("modernbert", rows=3, length=40)
    model.config.classifier_pooling = pooling
    forward = Forward(model, load_family("modernbert"))
    assert forward.head.first_only == (pooling == "cls")
    with torch.no_grad():
        torch.testing.assert_close(forward(**batch).logits, model(**batch).logits, atol=1e-5, rtol=1e-4)


def test_modernbert_layers_keep_their_own_pattern_under_another_attention() -> None:
    candidate = tiny_candidate("modernbert", attention="linear")
    candidate.model.config.classifier_pooling = "mean"
    batch = tiny_batch("modernbert", rows=3, length=40)
    assert [parts.window for parts in candidate.family.parts(candidate.model)] == [None, 4, 4]
    full = tiny_candidate("modernbert").model
    full.config.classifier_pooling = "mean"
    with torch.no_grad():
        logits = Forward(candidate.model, candidate.family)(**batch).logits
        torch.testing.assert_close(logits, candidate.model(**batch).logits, atol=1e-5, rtol=1e-4)
        assert (full(**batch).logits - logits).abs().max() > 1e-3


def test_modernbert_reads_as_many_tokens_as_it_has_positions(tmp_path: Path) -> None:
    candidate = tiny_candidate("modernbert", depth=2)
    assert candidate.model.config.layer_types == [
        ["full_attention", "sliding_attention", "sliding_attention"][layer] for layer in candidate.kept_layers
    ]
    folder = deployed(candidate, tmp_path / "a", "modernbert")
    longest = candidate.model.config.max_position_embeddings
    batch = tiny_batch("modernbert", rows=2, length=longest)
    logits = onnxruntime.open_session(folder, 1).run({name: tensor.numpy() for name, tensor in batch.items()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, candidate.model(**batch).logits.numpy(), atol=1e-4)


def test_modernbert_without_its_first_layer_keeps_the_norm_of_the_next(tmp_path: Path) -> None:
    model = tiny_model("modernbert")
    importance = tiny_importance(model, "modernbert")
    importance = type(importance)(importance.heads, importance.neurons, removal=(0, 1, 2))
    candidate = build_candidate(model, Recipe(depth=2), importance)
    assert candidate.kept_layers == (1, 2)
    save_candidate(candidate, tiny_tokenizer("modernbert"), interface(), tmp_path)
    batch = tiny_batch("modernbert")
    with torch.no_grad():
        assert torch.equal(autocompress.load_model(tmp_path)(**batch).logits, candidate.model(**batch).logits)


# ALBERT ---------------------------------------------------------------------------------------------------------------


def test_albert_slices_its_shared_layer_once_for_all_uses() -> None:
    model = tiny_model("albert")
    importance = tiny_importance(model, "albert")
    assert np.array_equal(importance.heads[0], importance.heads[2])
    candidate = build_candidate(model, Recipe(depth=2, head_sparsity=0.5, ffn_sparsity=0.25), importance)
    assert (candidate.heads, candidate.neurons) == ((2, 2), (48, 48))
    shared = sum(parameter.numel() for parameter in model.parameters()) - candidate.parameters
    assert 0 < shared < 4 * 32 * 32 + 2 * 64 * 32  # parts of one layer, whatever the depth


@pytest.mark.parametrize(
    ("runtime", "bits"),
    [("onnxruntime", 32), ("onnxruntime", 8), ("onnxruntime", 4), ("openvino", 32), ("openvino", 8)],
)
def test_albert_of_twelve_layers_is_as_large_as_one_of_one_layer(runtime: str, bits: int, tmp_path: Path) -> None:
    used = RUNTIMES.load(runtime)
    if used.available() is None:
        pytest.skip(f"{runtime} is not installed")
    model = tiny_model("albert", layers=12, hidden=384, neurons=1536)
    importance = tiny_importance(tiny_model("albert", layers=12), "albert")
    rows = [{name: x.numpy() for name, x in tiny_batch("albert", 2, 9).items()}]
    sizes = []
    for depth in (1, 12):
        folder = tmp_path / str(depth)
        folder.mkdir()
        candidate = build_candidate(model, Recipe(depth=depth, weight_bits=bits), importance)
        deploy(candidate, tiny_tokenizer("albert"), interface(), runtime, folder, lambda: rows)
        sizes.append(benchmarking.size_mb(used, folder))
    assert sizes[1] <= 1.1 * sizes[0]
    assert sizes[0] > 1.7 * bits / 8  # MB of the 1.8 million weights of one layer


# MPNet ----------------------------------------------------------------------------------------------------------------


def test_mpnet_layers_read_the_bias_of_their_own_heads() -> None:
    model = tiny_model("mpnet")
    importance = tiny_importance(model, "mpnet")
    scores = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [1.0, 4.0, 3.0, 2.0]])
    importance = type(importance)(scores, importance.neurons, importance.removal)
    candidate = build_candidate(model, Recipe(depth=3, head_sparsity=0.5), importance)
    columns = [parts.bias.columns for parts in candidate.family.parts(candidate.model) if parts.bias is not None]
    assert columns == [(2, 3), (0, 1), (1, 2)]
    batch = tiny_batch("mpnet")
    with torch.no_grad():
        before = Forward(candidate.model, candidate.family)(**batch).logits
        candidate.model.mpnet.encoder.relative_attention_bias.weight[:, 0] += torch.linspace(-3, 3, 32)
        assert (Forward(candidate.model, candidate.family)(**batch).logits - before).abs().max() > 1e-3


def test_mpnet_refuses_linear_attention_before_any_work(tmp_path: Path) -> None:
    space = {"attention": ["full", "local", "linear"], "attention_window": [4]}
    file = tiny_study(tmp_path, family="mpnet", space=space)
    with pytest.raises(UsageError, match=r"attention: linear attention is undefined with the relative position bias"):
        prepare(read_plan(file), offline=True)
    with pytest.raises(UsageError, match="linear"):
        tiny_candidate("mpnet", attention="linear")
    prepare(read_plan(file, ["space.attention=[full, local]"]), offline=True)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "albert", "num_hidden_groups": 2}, "num_hidden_groups is 2"),
        ({"model_type": "albert", "inner_group_num": 2}, "inner_group_num is 2"),
        ({"model_type": "modernbert", "rope_parameters": {"full_attention": {"rope_type": "dynamic"}}}, "'dynamic'"),
        ({"model_type": "bert", "is_decoder": True}, "'bert' is a decoder"),
        ({"model_type": "gpt2"}, "'gpt2' is a decoder"),
        ({"model_type": "llama"}, "'llama' is a decoder"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "'t5' is an encoder-decoder"),
        ({"model_type": "bart"}, "'bart' is an encoder-decoder"),
        ({"model_type": "vit"}, "'vit' is no model of text"),
    ],
)
def test_read_config_refuses_by_name(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"num_hidden_layers": 2, **values}))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UsageError, match=message):
        read_config(str(tmp_path), "teacher.model", offline=True)
