"""Training time: amounts that fit the time left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.config import Recovery, read_plan
from autocompress.training.time_fitting import (
    FULL_STEPS,
    MOST_COPIES,
    SHORT_STEPS,
    SUPERNET_STEPS,
    TARGETS_SHARE,
    TrainingRates,
    fit_training_time,
)
from tests.tiny import tiny_study

RATES = TrainingRates(label=0.001, supernet_step=0.1, step=0.045, rows=8000, further=0)
seconds = st.floats(0, 1e6)


@given(seconds, st.integers(1, 8), st.floats(1e-5, 1), st.floats(1e-4, 10), st.floats(1e-4, 10))
def test_fit_training_time_keeps_amounts_within_bounds(
    left: float, workers: int, label: float, supernet: float, step: float
) -> None:
    rates = TrainingRates(label=label, supernet_step=supernet, step=step, rows=1000, further=200)
    fitted = fit_training_time(Recovery(), (), left, workers, rates)
    steps = 1000 / fitted.batch
    assert SUPERNET_STEPS[0] <= round(fitted.supernet_epochs * steps) <= SUPERNET_STEPS[1]
    assert FULL_STEPS[0] <= round(fitted.epochs * steps) <= FULL_STEPS[1]
    assert SHORT_STEPS[0] <= round(fitted.short_epochs * steps) <= SHORT_STEPS[1]
    assert 0 <= fitted.copies <= MOST_COPIES
    assert fitted.distilled_rows is None or fitted.distilled_rows < 1000 * (1 + fitted.copies) + 200


def test_the_teacher_labels_no_more_rows_than_a_training_reads_or_its_share_of_the_time_holds() -> None:
    slow = TrainingRates(label=0.005, supernet_step=0.3, step=0.25, rows=8000, further=55_000)
    short = fit_training_time(Recovery(), (), 1300.0, 2, slow)
    assert short.distilled_rows == int(8000 * max(short.supernet_epochs, short.epochs)) < 63_000
    assert short.distilled_rows > TARGETS_SHARE * 1300 / 0.005
    assert fit_training_time(Recovery(), (), 1300.0, 2, replace(slow, label=0.002)).distilled_rows == int(
        TARGETS_SHARE * 1300 / 0.002
    )
    assert fit_training_time(Recovery(), (), 20_000.0, 2, slow).distilled_rows is None  # all of them
    given = Recovery(distilled_rows=100)
    assert fit_training_time(given, given.model_fields_set, 1300.0, 2, slow).distilled_rows == 100
    reusable = replace(slow, trained={"copies": 0, "supernet_epochs": short.supernet_epochs, "distilled_rows": 7})
    assert fit_training_time(Recovery(), (), 1300.0, 2, reusable).distilled_rows == 7


def test_fit_training_time_trains_longer_with_more_time_or_a_faster_machine() -> None:
    little, much = (fit_training_time(Recovery(), (), left, 2, RATES) for left in (200.0, 1500.0))
    assert little.epochs < much.epochs
    assert little.supernet_epochs < much.supernet_epochs
    assert little.short_epochs < much.short_epochs
    assert little.copies < much.copies
    slow = TrainingRates(label=0.004, supernet_step=0.4, step=0.18, rows=8000, further=0)
    assert fit_training_time(Recovery(), (), 1500, 2, slow).epochs < much.epochs


def test_fit_training_time_does_not_change_amounts_of_the_study_file(tmp_path: Path) -> None:
    recovery = Recovery(epochs=3, copies=1)
    fitted = fit_training_time(recovery, recovery.model_fields_set, 10_000, 2, RATES)
    assert (fitted.epochs, fitted.copies) == (3, 1)
    assert fitted.supernet_epochs != recovery.supernet_epochs
    for left in (60.0, 6000.0):  # a short training is an eighth of a full one of any length
        assert fit_training_time(Recovery(epochs=6), {"epochs"}, left, 2, RATES).short_epochs == 6 / 8
    plan = read_plan(tiny_study(tmp_path, recovery={"epochs": 2, "copies": 0}), ["recovery.short_epochs=0.5"])
    assert plan.given_recovery == {"epochs", "copies", "short_epochs"}


def test_fit_training_time_reuses_a_supernet_and_gives_its_time_to_the_trials() -> None:
    anew = fit_training_time(Recovery(), (), 600, 2, RATES)
    reusable = replace(RATES, trained={"copies": 2, "supernet_epochs": 0.6 * anew.supernet_epochs})
    fitted = fit_training_time(Recovery(), (), 600, 2, reusable)
    assert (fitted.copies, fitted.supernet_epochs) == (2, 0.6 * anew.supernet_epochs)
    assert fitted.epochs > anew.epochs
    too_short = replace(RATES, trained={"copies": 2, "supernet_epochs": 0.4 * anew.supernet_epochs})
    assert fit_training_time(Recovery(), (), 600, 2, too_short) == anew


def test_candidates_that_keep_every_layer_learn_more_slowly_unless_the_study_file_sets_a_rate() -> None:
    fitted = fit_training_time(Recovery(), (), 600, 2, RATES)
    assert fitted.whole_depth_learning_rate == pytest.approx(fitted.learning_rate / 3)
    given = Recovery(learning_rate=1e-3)
    assert fit_training_time(given, given.model_fields_set, 600, 2, RATES).whole_depth_learning_rate is None
    both = Recovery(whole_depth_learning_rate=1e-3)
    assert fit_training_time(both, both.model_fields_set, 600, 2, RATES).whole_depth_learning_rate == 1e-3
