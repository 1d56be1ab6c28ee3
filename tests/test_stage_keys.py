"""Keys of stage results: composed of settings, version, and the keys of the upstream stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from autocompress.actions.report.ablation import ablation_stage
from autocompress.config import Engine, Recovery, read_plan
from autocompress.core.recipe import Recipe
from autocompress.core.stage import Stage, upstream
from autocompress.core.technique import Technique, ordered_techniques
from autocompress.data import augmentation
from autocompress.deployment import deploy
from autocompress.models import candidate, importance
from autocompress.search import stage_keys
from autocompress.search.stage_keys import (
    TrainedStages,
    outputs_stage,
    structure_stage,
    teacher_stage,
    timing_reference_stage,
)
from autocompress.training import distillation, fine_tuning, supernet
from tests.tiny import tiny_study

DOMAINS = {"depth": (1, 2), "attention": ("full",), "head_sparsity": (0.0, 0.5), "ffn_sparsity": (0.5,)}
RECIPE = Recipe(depth=2, attention="local", attention_window=4, head_sparsity=0.5, ffn_sparsity=0.5, weight_bits=8)


def technique(name: str) -> Technique:
    return ordered_techniques()[name]


def trained(teacher_key: str = "t", **changes: object) -> TrainedStages:
    return TrainedStages(teacher_key, Recovery(), Engine(**changes), 0, DOMAINS)  # type: ignore[arg-type]  # its fields


def weights() -> str:
    return trained().weights(RECIPE, 2).key


def supernet_key() -> str:
    return trained().supernet.key


def ablation() -> str:
    return ablation_stage(RECIPE, "0" * 64, None, None).key


UPSTREAM: dict[str, tuple[Callable[[], str], list[tuple[ModuleType | Technique, str]]]] = {
    "importance": (lambda: trained().importance.key, [(importance, "VERSION")]),
    "targets": (lambda: trained().targets.key, [(distillation, "TARGETS_VERSION"), (augmentation, "VERSION")]),
    "supernet": (
        supernet_key,
        [
            (supernet, "VERSION"),
            (importance, "VERSION"),
            (distillation, "TARGETS_VERSION"),
            (augmentation, "VERSION"),
            (technique("head_sparsity"), "version"),
            (technique("depth"), "version"),
        ],
    ),
    "structure": (
        lambda: structure_stage(trained().importance, RECIPE).key,
        [(candidate, "VERSION"), (importance, "VERSION"), (technique("attention"), "version")],
    ),
    "recovered": (
        weights,
        [
            (distillation, "VERSION"),
            (distillation, "TARGETS_VERSION"),
            (augmentation, "VERSION"),
            (importance, "VERSION"),
            (candidate, "VERSION"),
            (supernet, "VERSION"),
            (stage_keys, "LEAST_SQUARES_VERSION"),
            (technique("attention_window"), "version"),
            (technique("ffn_sparsity"), "version"),
        ],
    ),
    "outputs": (lambda: outputs_stage("a", "d", "test", {}, 32).key, [(stage_keys, "OUTPUTS_VERSION")]),
    "timing_reference": (
        lambda: timing_reference_stage("t", "onnxruntime").key,
        [(stage_keys, "TIMING_REFERENCE_VERSION"), (deploy, "VERSION")],
    ),
    "ablation": (
        ablation,
        [(deploy, "VERSION"), (importance, "VERSION"), (supernet, "VERSION"), (technique("weight_bits"), "version")],
    ),
}


@pytest.mark.parametrize("kind", UPSTREAM)
def test_raising_an_upstream_version_changes_the_key(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key_of, versions = UPSTREAM[kind]
    keys = {key_of()}
    for module, name in versions:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, getattr(module, name) + 1)
            keys.add(key_of())
    assert len(keys) == 1 + len(versions)
    assert key_of() in keys


def test_teacher_version_changes_all_downstream_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = read_plan(tiny_study(tmp_path))
    before = teacher_stage(plan, {"model.safetensors": "1"}, "rows")
    monkeypatch.setattr(fine_tuning, "VERSION", fine_tuning.VERSION + 1)
    after = teacher_stage(plan, {"model.safetensors": "1"}, "rows")
    assert before.key != after.key
    for key_before, key_after in zip(*(_downstream_keys(stage.key) for stage in (before, after)), strict=True):
        assert key_before != key_after


def _downstream_keys(teacher_key: str) -> list[str]:
    stages_of_teacher = trained(teacher_key)
    return [
        stages_of_teacher.importance.key,
        stages_of_teacher.targets.key,
        stages_of_teacher.supernet.key,
        stages_of_teacher.weights(RECIPE, 0).key,
        timing_reference_stage(teacher_key, "onnxruntime").key,
    ]


def test_version_of_importance_changes_keys_of_weights_and_super_net(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = trained().weights(RECIPE, 1).key, trained().supernet.key
    monkeypatch.setattr(importance, "VERSION", importance.VERSION + 1)
    after = trained().weights(RECIPE, 1).key, trained().supernet.key
    assert before[0] != after[0] and before[1] != after[1]


def test_outputs_depend_on_the_version_of_their_runtime() -> None:
    device = {"threads": 1, "batch": 1, "cpu": "x", "runtime": "onnxruntime", "runtime_version": "1.31"}
    keys = {
        outputs_stage("a", "d", "test", {**device, "runtime_version": version}, 32).key for version in ("1.31", "1.32")
    }
    assert len(keys) == 2


def test_weights_depend_on_the_weights_of_the_rung_below() -> None:
    lower = trained().weights(RECIPE, 1)
    assert trained().weights(RECIPE, 2).made_from["recovered"] == lower.key
    assert "recovered" not in trained(rungs=False).weights(RECIPE, 2).made_from
    assert "supernet" not in trained(supernet=False).weights(RECIPE, 0).made_from


def test_one_training_serves_every_bit_width_only_with_reuse() -> None:
    other = Recipe(**{**RECIPE, "weight_bits": 4})
    assert trained().weights(RECIPE, 2).key == trained().weights(other, 2).key
    assert trained(reuse=False).weights(RECIPE, 2).key != trained(reuse=False).weights(other, 2).key


STORED = {  # settings of the engine -> keys that the version with one attribute per decision computed
    (): ("740dd746b3cc0c99f1b2d98ffb7f0ee3e620631f7c723baee5c97730537fc24d",
         "958778454e0f4b6269ab0888e7db1d2dd786f9a0a12d9aa2512fca6a9c5b5361"),
    ("reuse",): ("6f1b2463918e065f880cd3cab13fa661c9c173c7ac8e772c6c00542726ab5f0e",
                 "958778454e0f4b6269ab0888e7db1d2dd786f9a0a12d9aa2512fca6a9c5b5361"),
    ("supernet",): ("60d49f3626f0b40b8055cc8d85bbd79be657bc58e71e53028c727b1ed119d605",
                    "958778454e0f4b6269ab0888e7db1d2dd786f9a0a12d9aa2512fca6a9c5b5361"),
    ("rungs",): ("2db8b1075c440c0a0c2823d7199ced53f6f05fa5809fa8af05ba705ac826477a",
                 "958778454e0f4b6269ab0888e7db1d2dd786f9a0a12d9aa2512fca6a9c5b5361"),
}  # fmt: skip


@pytest.mark.parametrize("disabled", STORED)
def test_keys_of_earlier_versions_stay_while_no_version_is_raised(disabled: tuple[str, ...]) -> None:
    bits = {"weight_bits": (8,), "embedding_bits": (32,), "attention_window": (None,)}
    stages = TrainedStages("t", Recovery(), Engine(**dict.fromkeys(disabled, False)), 0, {**DOMAINS, **bits})
    assert (stages.weights(RECIPE, 2).key, stages.supernet.key) == STORED[disabled]
    structure = structure_stage(stages.importance, RECIPE)
    assert structure.key == "daca5a67b84e79699edf8b468ed228dc276ddaf6853d7238464523f0e45aaf59"
    assert ablation() == "2e0a13a5461862ba878e0b7cef3b1199fcd8c2d6c48c90c8a9cbc60eacc931fa"


def test_a_decision_pinned_to_neutral_changes_no_key_of_the_super_net() -> None:
    with_more = TrainedStages("t", Recovery(), Engine(), 0, {**DOMAINS, "attention_window": (None,)})
    assert with_more.supernet.key == trained().supernet.key


def test_recipe_key_omits_neutral_decisions() -> None:
    assert Recipe(depth=2).key == Recipe(**{**Recipe(), "depth": 2}).key
    # sha256 of {"depth": 2, "head_sparsity": 0.5}: a decision that is added later must not change it
    assert Recipe(depth=2, head_sparsity=0.5).key == "a6f992a412a1658c29e2c1de80c22dd9142ec1d14737ea6c98ff0187a1da1201"


def test_stage_refuses_repeated_and_reserved_names() -> None:
    below = Stage("teacher", 1, {"a": 1})
    assert upstream(below, None) == {"teacher": below.key}
    with pytest.raises(ValueError, match="teacher"):
        Stage("targets", 1, {"teacher": 1}, upstream(below))
    with pytest.raises(ValueError, match="version"):
        Stage("targets", 1, {"version": 1})
