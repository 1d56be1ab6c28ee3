"""Picking a model under constraints, the nearest misses, and the explanation of a pick."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocompress.core.errors import UsageError
from autocompress.core.trial_row import TrialRow
from autocompress.selection import NoneFits, Picked, broken, explain, pick
from tests.selection_rows import TEACHER, row, rows_of_a_study


def test_pick_by_preference_and_constraints() -> None:
    rows = [TEACHER, row(1, 0.00, 4.0, 40.0), row(2, 0.01, 2.0, 20.0), row(3, 0.05, 1.0, 30.0)]
    assert picked(rows, {}, "quality") == 1
    assert picked(rows, {}, "latency_ms") == 3
    assert picked(rows, {"max_drop": 0.02}, "latency_ms") == 2
    assert picked(rows, {"max_drop": 0.02}, "size_mb") == 2
    assert picked(rows, {"max_size_mb": 25.0}, None) == 2


def test_pick_prefers_smaller_then_lower_number_on_ties() -> None:
    rows = [row(1, latency=1.0, size=9.0), row(2, latency=1.0, size=5.0), row(3, latency=1.0, size=5.0)]
    assert picked(rows, {}, "latency_ms") == 2


def test_pick_names_an_unknown_preference() -> None:
    with pytest.raises(UsageError, match=r"--prefer.*speed.*latency_ms"):
        pick([row(1)], {}, "speed")


def test_pick_returns_nearest_misses_where_none_fits() -> None:
    rows = [TEACHER, row(1, 0.03, 1.0, 50.0), row(2, 0.04, 1.0, 5.0), row(3, 0.00, 9.0, 60.0), row(4, 0.00, 3.0, 5.0)]
    none = pick(rows, {"max_drop": 0.02, "max_latency_ms": 2.0, "max_size_mb": 10.0})
    assert isinstance(none, NoneFits)
    # trial 1 has the smaller drop of those that break max_drop, but breaks the size, too
    assert {name: row.trial for name, row in none.nearest.items()} == {
        "max_drop": 2,
        "max_latency_ms": 4,
        "max_size_mb": 1,
    }
    assert {name: looser.row.trial for name, looser in none.loosened.items()} == {"max_drop": 2, "max_latency_ms": 4}
    both = pick([TEACHER, row(1, 0.03, 1.0, 50.0)], {"max_drop": 0.02, "max_size_mb": 10.0})
    assert isinstance(both, NoneFits)
    assert both.loosened == {}  # one alone is not enough
    assert pick([TEACHER], {}) == NoneFits(nearest={}, loosened={})


def test_pick_returns_the_looser_bound_of_each_constraint() -> None:
    rows = [
        TEACHER,
        row(1, 0.03, 1.0, 5.0),
        row(2, 0.01, 2.00401, 5.0),
        row(3, 0.01, 1.0, 50.0),
        row(4, 0.05, 1.0, 5.0),
    ]
    bounds = {"max_drop": 0.02, "max_latency_ms": 2.0, "max_size_mb": 10.0}
    none = pick(rows, bounds)
    assert isinstance(none, NoneFits)
    assert {name: (looser.bound, looser.row.trial) for name, looser in none.loosened.items()} == {
        "max_drop": (0.03, 1),
        "max_latency_ms": (2.01, 2),
        "max_size_mb": (50.0, 3),
    }
    for name, looser in none.loosened.items():
        assert picked(rows, {**bounds, name: looser.bound}, None) == looser.row.trial


@settings(max_examples=50)
@given(rows_of_a_study, st.sampled_from(["quality", "latency_ms", "size_mb"]))
def test_looser_bounds_let_pick_improve(rows: list[TrialRow], prefer: str) -> None:
    bounds = {"max_drop": 0.03, "max_latency_ms": 3.0}
    result = pick(rows, bounds, prefer)
    loosened = result.loosened if isinstance(result, NoneFits) else explain(result, rows, bounds, prefer).loosened
    for name, looser in loosened.items():
        assert looser.bound > bounds[name]
        better = pick(rows, {**bounds, name: looser.bound}, prefer)
        assert isinstance(better, Picked)
        if isinstance(result, Picked) and prefer != "quality":
            assert getattr(better.row, prefer) <= getattr(looser.row, prefer) < getattr(result.row, prefer)


def test_explain_returns_neighbours_and_looser_bounds() -> None:
    rows = [TEACHER, row(1, 0.00, 4.0, 40.0), row(2, 0.01, 2.0, 20.0), row(3, 0.02, 1.0, 10.0), row(4, 0.09, 0.1, 9.0)]
    bounds = {"max_drop": 0.03}
    knee = pick(rows, bounds)
    assert isinstance(knee, Picked)
    why = explain(knee, rows, bounds)
    assert (why.complete, why.holding, why.prefer, why.loosened) == (4, 3, None, {})
    assert [(near.row.trial, near.better_in) for near in why.neighbours] == [
        (1, ("quality",)),
        (3, ("latency_ms", "size_mb")),
    ]
    assert knee.row.trial == 2
    assert (why.neighbours[1].faster, why.neighbours[1].smaller) == (2.0, 2.0)
    assert why.neighbours[0].drop < 0 < why.neighbours[1].drop
    fastest = pick(rows, bounds, "latency_ms")
    assert isinstance(fastest, Picked)
    why = explain(fastest, rows, bounds, "latency_ms")
    assert why.loosened["max_drop"].row.trial == 4


@settings(max_examples=50)
@given(rows_of_a_study, st.sampled_from([None, "quality", "latency_ms", "size_mb"]))
def test_pick_holds_the_constraints(rows: list[TrialRow], prefer: str | None) -> None:
    limits = {"max_drop": 0.02, "max_latency_ms": 4.0}
    measured = [replace(row, disagreement=0.06) for row in rows]
    for candidates in (rows, measured):
        result = pick(candidates, limits, prefer, examples=872)
        if isinstance(result, Picked):
            assert result.row in candidates
            assert not broken(result.row, limits)
        elif candidates is rows:  # whose expected drops are the measured ones
            assert all(broken(row, limits) for row in result.nearest.values())


def test_pick_accepts_a_measured_drop_above_the_bound_where_the_estimate_is_below() -> None:
    lucky = [row(n, 0.004, 3.0, disagreement=0.05, drop_interval=(-0.01, 0.02), **soft(0.003)) for n in range(1, 5)]
    unlucky = row(9, 0.015, 1.0, disagreement=0.05, drop_interval=(0.0, 0.03), **soft(0.004))
    assert picked([*lucky, unlucky], {"max_drop": 0.01}, "latency_ms") == 9
    refuted = replace(unlucky, drop=0.03, drop_interval=(0.012, 0.048))  # the measurement contradicts it
    assert picked([*lucky, refuted], {"max_drop": 0.01}, "latency_ms") < 9
    hard = replace(unlucky, soft_drop=None, soft_drop_interval=None)  # an old study: only the measured drop counts
    assert picked([*lucky, hard], {"max_drop": 0.01}, "latency_ms") < 9


def soft(drop: float) -> dict[str, Any]:
    return {"soft_drop": drop, "soft_drop_interval": (drop - 0.01, drop + 0.01)}


def picked(rows: list[TrialRow], constraints: dict[str, float], prefer: str | None) -> int:
    result = pick(rows, constraints, prefer)
    assert isinstance(result, Picked)
    return result.row.trial
