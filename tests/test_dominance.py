"""Front, constraints, hypervolume and knee, against plain versions and by properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from autocompress.core.errors import UsageError
from autocompress.core.trial_row import TrialRow
from autocompress.selection import broken, hypervolume, knee, on_front, reference_point, violations
from tests.selection_rows import CORNER, TEACHER, row, rows_of_a_study


def dominates(a: TrialRow, b: TrialRow) -> bool:
    losses_a, losses_b = ([row.drop or 0.0, row.latency_ms or 0.0, row.size_mb or 0.0] for row in (a, b))
    return all(x <= y for x, y in zip(losses_a, losses_b, strict=True)) and losses_a != losses_b


@given(rows_of_a_study)
def test_on_front_returns_non_dominated_feasible_trials(rows: list[TrialRow]) -> None:
    feasible = [row for row in rows if row.drop is not None and row.drop <= 0.03]
    best = [row for row in feasible if not any(dominates(peer, row) for peer in feasible)]
    expected = {min(copy.trial for copy in best if copy.sha256 == row.sha256) for row in best}
    assert on_front(rows, constraints={"max_drop": 0.03}) == expected


def test_on_front_excludes_teacher_which_may_dominate() -> None:
    worse, copy, better = row(1, 0.01, 9.0, 90.0), row(2, 0.0, 8.0, 80.0, sha256="sha 0"), row(3, 0.01, 1.0, 10.0)
    assert on_front([TEACHER, worse, copy, better]) == {3}
    assert on_front([TEACHER, worse]) == set()
    assert on_front([TEACHER]) == set()


@pytest.mark.parametrize(
    "change", [{"state": "stopped"}, {"state": "failed"}, {"latency_ms": None}, {"quality": float("nan")}]
)
def test_on_front_excludes_unfinished_and_unmeasured_trials(change: dict[str, object]) -> None:
    assert on_front([row(1, 0.02, 2.0), replace(row(2), **change)]) == {1}  # type: ignore[arg-type]


def test_on_front_uses_the_given_objectives() -> None:
    rows = [row(1, 0.00, 2.0, 5.0), row(2, 0.01, 1.0, 9.0), row(3, 0.02, 1.5, 1.0)]
    assert on_front(rows) == {1, 2, 3}
    assert on_front(rows, ("quality", "latency_ms")) == {1, 2}


def test_violations_are_relative_sorted_and_complete() -> None:
    relative = violations(row(1, 0.03, 2.0, 5.0), {"max_size_mb": 10.0, "max_drop": 0.02, "max_latency_ms": None})
    assert list(relative) == ["max_drop", "max_size_mb"]
    assert relative == pytest.approx({"max_drop": 0.5, "max_size_mb": -0.5})
    assert violations(row(1, 0.005), {"max_drop": 0.0}) == pytest.approx({"max_drop": 0.5})  # of one point
    assert violations(replace(row(1), drop=None), {"max_drop": 0.01}) == {"max_drop": 0.0}


def test_broken_tolerates_rounding_errors() -> None:
    assert 0.92 - 0.90 > 0.02
    assert not broken(row(1, 0.92 - 0.90), {"max_drop": 0.02})


def test_violations_name_an_unknown_constraint() -> None:
    with pytest.raises(UsageError, match=r"max_speed.*max_drop"):
        violations(row(1), {"max_speed": 1.0})


def test_hypervolume_of_one_and_two_models() -> None:
    first, second = row(1, 0.02, 2.0, 20.0), row(2, 0.04, 1.0, 20.0)
    assert hypervolume([first], CORNER) == pytest.approx(8 * 2 * 2)  # 8 points, 2 octaves, 2 octaves
    assert hypervolume([first, second], CORNER) == pytest.approx(8 * 2 * 2 + 6 * 1 * 2)
    assert hypervolume([row(3, -0.01, 4.0, 40.0)], CORNER) == pytest.approx(11)


def test_hypervolume_counts_only_models_better_than_the_reference() -> None:
    assert hypervolume([], CORNER) == 0
    assert hypervolume([TEACHER, row(1, 0.2, 1.0, 1.0), row(2, 0.0, 9.0, 1.0)], CORNER) == 0
    assert hypervolume([replace(row(1), state="stopped")], CORNER) == 0


@given(rows_of_a_study)
def test_hypervolume_of_all_trials_equals_that_of_their_front(rows: list[TrialRow]) -> None:
    rows = [replace(row, sha256=str(row.trial)) for row in rows]
    members = on_front(rows)
    front = [row for row in rows if row.trial in members]
    assert hypervolume(rows, CORNER) == pytest.approx(hypervolume(front, CORNER))
    assert hypervolume(rows[:-1], CORNER) <= hypervolume(rows, CORNER) + 1e-9


def test_reference_point_follows_max_drop_and_teacher() -> None:
    assert reference_point(TEACHER, None) == CORNER
    assert reference_point(TEACHER, 0.15).drop_points == pytest.approx(15)


def test_knee_is_the_balanced_model() -> None:
    rows = [row(1, 0.00, 8.0, 80.0), row(2, 0.01, 2.0, 20.0), row(3, 0.09, 1.0, 10.0)]
    assert knee(rows) == rows[1]
    assert knee([]) is None
    assert knee([rows[2]]) == rows[2]
