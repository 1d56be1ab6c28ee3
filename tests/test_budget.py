"""The time budget of a study, and the part of it in which the finalists are tested."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from autocompress.config import Budget
from autocompress.search.budget import MOST_RESERVED, BudgetMeter
from autocompress.search.final_evaluation_time import OPENING_SECONDS, FinalRows, FinalSeconds, predict_final_seconds
from autocompress.study import BudgetSpent
from tests.selection_rows import TEACHER, row


class Spent:
    """A study of which so many seconds were used."""

    def __init__(self, seconds: float) -> None:
        self.spent = BudgetSpent(trials=3, seconds=seconds, retries_waiting=0)

    def budget_spent(self) -> BudgetSpent:
        return self.spent


def meter(seconds: float, reserved: float) -> BudgetMeter:
    study: Any = Spent(seconds)
    return BudgetMeter(Budget(time=100), study, reserved=reserved, _began=time.monotonic())


def test_trials_end_when_the_time_for_testing_begins() -> None:
    assert meter(80, reserved=0).reason_to_end(1) is None
    assert meter(80, reserved=15).reason_to_end(1) is None
    assert meter(91, reserved=15).reason_to_end(1) == "the budget of 100 s is met"


def test_testing_takes_at_most_its_share_of_the_time() -> None:
    assert meter(100 * (1 - MOST_RESERVED) - 5, reserved=1000).reason_to_end(1) is None
    assert meter(100 * (1 - MOST_RESERVED) + 5, reserved=1000).reason_to_end(1) is not None


def test_no_trial_starts_that_would_end_while_finalists_are_tested() -> None:
    for reserved, fits in ((0, True), (15, False)):
        measured = meter(80, reserved=reserved)
        measured.add_duration(0, 1.0, 20.0)
        assert measured.fits(0, 1.0) is fits


def test_final_seconds_follow_from_latency_rows_and_what_is_missing() -> None:
    fast, slow, tested = row(1, latency=1.0), row(2, latency=4.0), row(3, latency=2.0, test_quality=0.9)
    rows = FinalRows(validation=100, test=200, agreement=400)
    seconds = predict_final_seconds([fast, slow, tested], TEACHER, 10.0, rows)  # the teacher: 8 ms
    assert seconds.tests == pytest.approx(20.0 * (1 + 1 / 8 + 1 / 2) + 3 * OPENING_SECONDS)
    assert seconds.comparisons == pytest.approx(40.0 * (1 + 1 / 8 + 1 / 2 + 1 / 4) + 4 * OPENING_SECONDS)
    done = replace(TEACHER, test_quality=0.9)
    assert predict_final_seconds([tested], done, 10.0, replace(rows, agreement=0)) == FinalSeconds()
