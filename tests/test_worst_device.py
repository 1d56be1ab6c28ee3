"""Rows of several devices combined into those of the worst device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.selection import combine_worst, on_front
from tests.selection_rows import TEACHER, drops, prices, row, rows_of_a_study


@given(rows_of_a_study, st.lists(st.tuples(drops, prices), min_size=12, max_size=12))
def test_combine_worst_is_no_better_than_any_device(
    rows: list[TrialRow], second_device: list[tuple[float, float]]
) -> None:
    def measured(drop: float, speedup: float, trial: TrialRow, teacher_ms: float) -> TrialRow:
        return replace(trial, drop=drop, quality=0.9 - drop, speedup=speedup, latency_ms=teacher_ms / speedup)

    first = [replace(TEACHER, speedup=1.0), *(measured(r.drop or 0.0, r.latency_ms or 1.0, r, 8.0) for r in rows)]
    second = [replace(TEACHER, speedup=1.0, latency_ms=50.0)]
    second += [measured(d, speedup, r, 50.0) for r, (d, speedup) in zip(rows, second_device, strict=False)]
    combined = combine_worst([first, second])
    assert [row.trial for row in combined] == [row.trial for row in first]
    assert {row.device for row in combined} == {"all"}
    assert combined[0] == replace(first[0], device="all")
    for a, b, both in zip(first[1:], second[1:], combined[1:], strict=True):
        assert both.speedup == min(a.speedup or 0, b.speedup or 0)
        assert both.drop == max(a.drop or 0, b.drop or 0)
        assert both.latency_ms == 8.0 / (both.speedup or 1)  # in milliseconds of the first device
        assert both.quality == pytest.approx(0.9 - (both.drop or 0))


def test_combine_worst_omits_numbers_not_measured_on_every_device() -> None:
    first = [replace(TEACHER, speedup=1.0), replace(row(1), speedup=4.0), replace(row(2), speedup=2.0)]
    second = [*first[:2], TrialRow(trial=2, state="complete", reason=None, recipe=Recipe())]
    combined = combine_worst([first, second])
    assert combined[1].latency_ms == 2.0
    assert (combined[2].latency_ms, combined[2].drop, combined[2].quality) == (None, None, None)
    assert on_front(combined) == {1}
