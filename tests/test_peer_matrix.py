"""The selection matrix of the peers benchmark: families, fronts, and the measurements of single decisions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from autocompress.core.recipe import Recipe
from autocompress.core.scalar import Scalar
from autocompress.core.trial_row import TrialRow
from benchmarks.choosing_records import SearchRecord
from benchmarks.peers_matrix import Entry, find_family, read_decisions, render_matrix, select_front, split_by_family


def test_find_family_compares_with_the_teacher() -> None:
    teacher: dict[str, Scalar] = {
        "depth": 6,
        "head_sparsity": 0.0,
        "ffn_sparsity": 0.0,
        "weight_bits": 32,
        "attention": "full",
    }
    assert find_family({**teacher, "weight_bits": 8}, teacher) == "quantization"
    assert find_family({**teacher, "ffn_sparsity": 0.5}, teacher) == "pruning"
    assert find_family({**teacher, "depth": 3, "weight_bits": 8}, teacher) == "joint"
    assert find_family({**teacher, "attention": None}, teacher) is None  # null: does not apply


def test_matrix_holds_the_front_of_each_family_and_single_decisions(tmp_path: Path) -> None:
    rows = [
        {"decision": "depth", "value": "3", "speedup": 2.0, "compression": 1.5, "drop": 0.02},
        {"decision": "depth", "value": "1", "speedup": 6.0, "compression": 2.0, "drop": 0.3},
        {"decision": "attention", "value": "local", "tokens": 256, "speedup": 1.4},
    ]
    (tmp_path / "decisions.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    assert list(read_decisions(tmp_path / "decisions.json")) == [("distillation (fewer layers)", Entry(1.5, 0.02, 2.0))]
    teacher = Recipe(depth=6, weight_bits=32)
    trials = (
        trial_row(0, teacher),
        trial_row(1, teacher.replace(weight_bits=8), latency_ms=2.0, drop=0.05),
        trial_row(
            2, teacher.replace(weight_bits=4), latency_ms=3.0, drop=0.0
        ),  # on validation; on test dominated by trial 1
        trial_row(3, teacher.replace(weight_bits=8, depth=3), latency_ms=1.0, drop=0.03),
    )
    labels = np.zeros(100, np.int16)
    wrong = {0: 0, 1: 1, 2: 2, 3: 30}  # of 100 test rows
    predictions = {trial: (np.arange(100) < count).astype(np.int16) for trial, count in wrong.items()}
    search = SearchRecord("sst2", 0, 30.0, 872, trials, labels, predictions, {"cpu": "invented"})
    families = split_by_family(trials)
    assert {family: [row.trial for row in rows] for family, rows in families.items()} == {
        "quantization": [1, 2],
        "joint": [3],
    }
    assert select_front(families["quantization"], search) == [Entry(4.0, 0.01, 2.0, 0.5)]
    assert select_front(families["joint"], search) == []  # it loses 30 points on test
    lines = render_matrix([search], tmp_path / "decisions.json")
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["quantization", "distillation (fewer layers)"]


def trial_row(trial: int, recipe: Recipe, latency_ms: float = 4.0, drop: float = 0.0) -> TrialRow:
    speedup, quality = 4 / latency_ms, 0.9 - drop
    return TrialRow(trial=trial, state="complete", reason=None, recipe=recipe, quality=quality, drop=drop, seconds=30.0,
                    latency_ms=latency_ms, speedup=speedup, size_mb=10.0 if trial else 40.0, sha256=str(trial))  # fmt: skip


def test_matrix_without_records_has_no_lines() -> None:
    assert render_matrix([]) == []
