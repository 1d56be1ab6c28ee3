"""What a search trains once its front has stopped growing: candidates that may become the model to pick."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.search import supervisor as searching
from autocompress.search import worker_pool as crews
from autocompress.search.scheduler import FEWEST_UNTRAINED
from autocompress.selection import NoneFits, early_stopping, pick, prospects
from autocompress.selection.choice_promotion import LEAST_GAIN, MOST_MODELS
from autocompress.study import read_study
from tests.formula import FormulaExecutor, open_study, plan_in, space
from tests.selection_rows import TEACHER, row

EXAMPLES = 100_000  # so many rows that the measured drop is all but certain


def candidate(
    trial: int, rung: int, drop: float, latency: float, depth: int | None = None, **fields: object
) -> TrialRow:
    """Return a trial whose drop was measured on all rows."""
    known = {"rung": rung, "recipe": Recipe(depth=depth or trial), "disagreement": max(0.001, 2 * abs(drop)), **fields}
    interval = (drop - 0.0001, drop + 0.0001)
    return row(trial, drop, latency, drop_interval=interval, **known)


PICKED = candidate(1, 2, 0.005, 4.0)


def found(*rows: TrialRow, **limits: float) -> list[int]:
    constraints = {"max_drop": 0.01, **limits}
    return [each.row.trial for each in prospects([TEACHER, PICKED, *rows], constraints, EXAMPLES)]


def test_a_faster_model_just_above_the_limit_comes_first() -> None:
    near, far, slower = candidate(2, 1, 0.012, 2.0), candidate(3, 1, 0.05, 0.5), candidate(4, 0, 0.011, 5.0)
    assert found(near, far, slower) == [2]  # the far one will never hold it, the slower one is of no use
    (only,) = prospects([TEACHER, PICKED, near], {"max_drop": 0.01}, EXAMPLES)
    assert only.speedup == pytest.approx(2.0) and 0.6 < only.chance < 0.9
    assert only.describe() == f"a chance of {only.chance:.0%} to hold max_drop, 2.00× as fast as the pick"
    assert found(near, candidate(5, 0, 0.012, 1.0)) == [5, 2]  # the same chance of more


def test_what_was_trained_in_full_or_begun_or_breaks_another_limit_is_left() -> None:
    near = candidate(2, 1, 0.012, 2.0)
    assert found(near, candidate(3, 2, 0.013, 2.0, depth=2)) == []
    assert found(near, replace(candidate(3, 2, 0.0, 2.0, depth=2), state="running", drop=None)) == []
    assert found(near, max_size_mb=5.0) == [] and found(near, max_size_mb=20.0) == [2]
    assert prospects([TEACHER, PICKED, near], {"max_drop": None}, EXAMPLES) == []
    assert prospects([TEACHER, PICKED, near] * MOST_MODELS, {"max_drop": 0.01}, EXAMPLES) == []


def test_what_training_did_for_others_counts() -> None:
    near = candidate(2, 0, 0.0125, 2.0)

    def chance(after: float) -> float:
        trained = (candidate(7, 0, 0.04, 3.0, depth=6), candidate(8, 2, after, 3.0, depth=6))
        each = prospects([TEACHER, PICKED, near, *trained], {"max_drop": 0.01}, EXAMPLES)
        return each[0].chance if each else 0.0

    assert chance(0.02) > chance(0.03) > chance(0.04)


def test_without_a_model_that_fits_all_that_is_faster_than_the_teacher_may() -> None:
    rows = [TEACHER, candidate(2, 1, 0.012, 2.0)]
    assert isinstance(pick(rows, {"max_drop": 0.01}, examples=EXAMPLES), NoneFits)
    assert [each.row.trial for each in prospects(rows, {"max_drop": 0.01}, EXAMPLES)] == [2]


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 0.05), st.floats(0.1, 7.0)), max_size=12))
def test_all_prospects_are_faster_and_ordered(values: list[tuple[int, float, float]]) -> None:
    rows = [TEACHER, PICKED, *(candidate(n, *value, depth=n) for n, value in enumerate(values, start=2))]
    listed = prospects(rows, {"max_drop": 0.01}, EXAMPLES)
    gains = [each.gain for each in listed]
    assert gains == sorted(gains, reverse=True) and all(gain >= LEAST_GAIN for gain in gains)
    assert all(each.speedup > 1 and each.row.rung in (0, 1) and 0 <= each.chance <= 1 for each in listed)


def test_a_search_that_stopped_growing_trains_them_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "LocalExecutor", FormulaExecutor)
    monkeypatch.setattr(early_stopping.HypervolumeHistory, "stalled", _stalls_after_a_few)
    begun: list[str] = []
    monkeypatch.setattr(searching.log, "info", lambda text, *values: begun.append(text % values))
    changes = {"budget": {"trials": 80, "time": "1h"}, "constraints": {"max_drop": 0.02}}
    plan, study = plan_in(tmp_path, **changes), open_study(tmp_path, **changes)
    with study.lease(), crews.open_worker_pool(plan, SilentDisplay(), offline=True) as pool:
        ending = searching.Supervisor(plan, study, space(), pool).run()
    promoted = [line for line in begun if "to hold max_drop" in line]
    assert promoted and all("to rung 2 (a chance of " in line for line in promoted)
    view = read_study(plan.storage, plan.study)
    assert ending.reason == "it stopped growing" and len(view.rows) < 80
    assert prospects(view.rows, view.constraints, view.examples) == []  # all of them were trained


def _stalls_after_a_few(history: early_stopping.HypervolumeHistory, gain: object) -> str | None:
    return "it stopped growing" if len(history.moments) > 3 * FEWEST_UNTRAINED else None
