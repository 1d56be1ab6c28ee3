"""The rows of a whole search with a formula, in our tables and in Optuna's, and the SQL view."""

from __future__ import annotations

import json

import pytest
from optuna.trial import TrialState

from autocompress.core.technique import ordered_techniques
from autocompress.selection import Reference, on_front, violations
from tests.formula import ROWS, TEACHER_MB, TEACHER_MS, outcome_of, space
from tests.toy_study import ToyStudy, searched_on_sqlite


def test_search_fills_the_rows_of_the_view(searched_toy: ToyStudy) -> None:
    view = searched_toy.view()
    rows = {row.trial: row for row in view.rows}
    assert view.teacher is not None
    assert rows[0] == view.teacher
    assert (view.teacher.latency_ms, view.teacher.speedup, view.teacher.compression) == (TEACHER_MS, 1.0, 1.0)
    finished = [row for row in view.rows if row.trial > 0 and "same candidate" not in (row.reason or "")]
    assert len([row for row in finished if row.state in ("complete", "stopped")]) >= 25
    assert {row.state for row in view.rows} <= {"complete", "stopped"}
    first = rows[1]
    measurement = outcome_of(first.recipe).measurement
    assert measurement is not None
    assert first.latency_ms == pytest.approx(
        TEACHER_MS / measurement.latency.speedup
    )  # not the raw time of a slower hour
    assert first.latency_ms is not None
    assert first.latency_p95_ms == pytest.approx(1.1 * first.latency_ms)
    assert first.compression == pytest.approx(TEACHER_MB / measurement.size_mb)
    assert first.test_drop == pytest.approx(0.011)
    assert (view.seconds, view.examples, view.objectives) == (12.5, ROWS, ("quality", "latency_ms", "size_mb"))
    assert view.constraints == {"max_drop": 0.03, "max_size_mb": 60}
    assert view.reference == Reference(drop_points=10.0, latency_ms=TEACHER_MS, size_mb=TEACHER_MB)
    assert {row.trial for row in view.front} == on_front(view.rows, view.objectives, view.constraints)
    assert len(view.front) >= 3
    json.dumps([row.as_json() for row in view.rows], allow_nan=False)


def test_search_tries_initial_recipes_first_and_measures_no_candidate_twice(searched_toy: ToyStudy) -> None:
    rows = searched_toy.view().rows
    initial_recipes = space().initial_recipes()
    assert [row.recipe for row in rows[1 : len(initial_recipes) + 1]] == initial_recipes
    measured = [row.recipe for row in rows if row.state == "complete" and row.reason is None]
    assert len(measured) == len(set(measured))


def test_optuna_study_has_the_same_trials(searched_toy: ToyStudy) -> None:
    study, rows = searched_toy.optuna_study(), {row.trial: row for row in searched_toy.view().rows}
    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}
    trials = [trial for trial in study.trials if trial.state != TrialState.WAITING]
    assert {trial.number: states[trial.state] for trial in trials} == {n: row.state for n, row in rows.items()}
    assert study.metric_names == ["quality", "latency_ms", "size_mb"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    for trial in trials:
        row = rows[trial.number]
        assert trial.constraints == pytest.approx(violations(row, {"max_drop": 0.03, "max_size_mb": 60}))
        if row.state == "complete":
            assert trial.values == [row.quality, row.latency_ms, row.size_mb]
            assert trial.user_attrs["speedup"] == row.speedup
            assert trial.user_attrs["drop_low"] < trial.user_attrs["drop"] < trial.user_attrs["drop_high"]
        else:
            assert trial.user_attrs["reason"] == row.reason
        assert all(isinstance(value, (int, float, str)) for value in trial.user_attrs.values())
        assert trial.user_attrs["depth"] == row.recipe["depth"]
    assert trials[0].params["depth"] == 6  # the space contains the teacher


def test_recipes_match_the_parameters_of_optuna(searched_toy: ToyStudy) -> None:
    study, rows = searched_toy.optuna_study(), {row.trial: row for row in searched_toy.view().rows}
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        assert space().canonical(trial.params) == rows[trial.number].recipe


def test_sql_view_has_a_column_per_decision(searched_toy: ToyStudy) -> None:
    names = searched_toy.column_names("results")
    assert set(ordered_techniques()) < set(names)
    assert {"study", "trial", "state", "reason", "quality", "drop", "latency_ms", "size_mb", "test_drop"} < set(names)
    query = 'SELECT trial, depth, ffn_sparsity, attention, "drop", latency_ms FROM results'
    by_trial = {number: values for number, *values in searched_toy.sql(query)}
    rows = searched_toy.view().rows
    assert len(by_trial) == len(rows)
    for row in rows:
        recipe = row.recipe
        assert by_trial[row.trial][:3] == [recipe["depth"], recipe["ffn_sparsity"], recipe["attention"]]
        assert by_trial[row.trial][3:] == [row.drop, pytest.approx(row.latency_ms) if row.latency_ms else None]


@searched_on_sqlite
def test_database_holds_no_absolute_path(searched_toy: ToyStudy) -> None:
    content = (searched_toy.folder / "study.db").read_bytes()
    assert str(searched_toy.folder).encode() not in content
    assert searched_toy.view().artifacts == searched_toy.folder / "artifacts"
    assert searched_toy.sql("SELECT log FROM ac_candidates WHERE number = 1") == [("logs/trial-0001.log",)]
