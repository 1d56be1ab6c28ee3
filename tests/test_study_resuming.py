"""Opening a study again: unchanged plans, edited constraints, several studies in a database."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from autocompress.core.errors import UsageError
from autocompress.selection import violations
from autocompress.study import read_study, studies
from tests.formula import search
from tests.toy_study import ToyStudy


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 7}, "seed"),
        ({"device": {"threads": 2}}, "device.threads"),
        ({"objectives": ("quality", "latency_ms")}, "objectives"),
        ({"space": {"depth": [1, 2]}}, "space"),
        ({"recovery": {"epochs": 1}}, "recovery.epochs"),
    ],
)
def test_open_refuses_a_changed_plan_naming_the_key(toy: ToyStudy, changes: dict[str, Any], key: str) -> None:
    toy.open()
    with pytest.raises(UsageError, match=f"study file: {key}"):
        toy.open(**changes)
    toy.open()


def test_edited_constraints_apply_to_finished_trials(toy: ToyStudy) -> None:
    study = toy.open()
    with study.lease():
        search(study, 6)
    before = [row.trial for row in toy.view().front]
    with toy.open(constraints={"max_latency_ms": 1.0, "max_drop": 0.2}, budget={"trials": 50}).lease():
        pass
    view = toy.view()
    assert view.constraints == {"max_latency_ms": 1.0, "max_drop": 0.2}
    assert all(row.latency_ms is not None and row.latency_ms <= 1 for row in view.front)
    assert [row.trial for row in view.front] != before
    for trial in toy.optuna_study().trials:
        if trial.state.is_finished():
            assert trial.constraints == pytest.approx(violations(view.row(trial.number), view.constraints))


def test_open_refuses_a_study_of_another_program(toy: ToyStudy) -> None:
    foreign = optuna.create_study(study_name="toy", storage=toy.optuna_storage())
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(UsageError, match="another program"):
        toy.open()


def test_two_studies_share_a_database(toy: ToyStudy) -> None:
    for name in ("one", "two"):
        study = toy.open(study=name)
        with study.lease():
            search(study, 2)
    assert studies(toy.url) == ["one", "two"]
    assert [len(read_study(toy.url, name).rows) for name in ("one", "two")] == [3, 3]
