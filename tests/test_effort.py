"""How long to train, when to stop, and what an earlier study gives to a later one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from autocompress.config import Recovery, read_plan
from autocompress.selection.early_stopping import HypervolumeHistory
from autocompress.study.warm_start import warm_start_recipes
from autocompress.training.time_fitting import (
    FULL_STEPS,
    MOST_COPIES,
    SHORT_STEPS,
    SUPERNET_STEPS,
    TrainingRates,
    fit_training_time,
)
from tests.formula import open_study, plan_in, search
from tests.tiny import tiny_study

RATES = TrainingRates(label=0.001, supernet_step=0.1, step=0.045, rows=8000, further=0)
seconds = st.floats(0, 1e6)


@given(seconds, st.integers(1, 8), st.floats(1e-5, 1), st.floats(1e-4, 10), st.floats(1e-4, 10))
def test_amounts_stay_within_their_bounds(
    left: float, workers: int, label: float, supernet: float, step: float
) -> None:
    rates = TrainingRates(label=label, supernet_step=supernet, step=step, rows=1000, further=200)
    found = fit_training_time(Recovery(), (), left, workers, rates)
    steps = 1000 / found.batch
    assert SUPERNET_STEPS[0] <= round(found.supernet_epochs * steps) <= SUPERNET_STEPS[1]
    assert FULL_STEPS[0] <= round(found.epochs * steps) <= FULL_STEPS[1]
    assert SHORT_STEPS[0] <= round(found.short_epochs * steps) <= SHORT_STEPS[1]
    assert 0 <= found.copies <= MOST_COPIES


def test_more_time_or_a_faster_machine_trains_longer() -> None:
    little, much = (fit_training_time(Recovery(), (), left, 2, RATES) for left in (200.0, 1500.0))
    assert little.epochs < much.epochs
    assert little.supernet_epochs < much.supernet_epochs
    assert little.short_epochs < much.short_epochs
    assert little.copies < much.copies
    slow = TrainingRates(label=0.004, supernet_step=0.4, step=0.18, rows=8000, further=0)
    assert fit_training_time(Recovery(), (), 1500, 2, slow).epochs < much.epochs


def test_what_the_study_file_gives_is_never_changed(tmp_path: Path) -> None:
    recovery = Recovery(epochs=3, copies=1)
    found = fit_training_time(recovery, recovery.model_fields_set, 10_000, 2, RATES)
    assert (found.epochs, found.copies) == (3, 1)
    assert found.supernet_epochs != recovery.supernet_epochs
    for left in (60.0, 6000.0):  # a short training is an eighth of a full one, however long that was chosen to be
        assert fit_training_time(Recovery(epochs=6), {"epochs"}, left, 2, RATES).short_epochs == 6 / 8
    plan = read_plan(tiny_study(tmp_path, recovery={"epochs": 2, "copies": 0}), ["recovery.short_epochs=0.5"])
    assert plan.given_recovery == {"epochs", "copies", "short_epochs"}


def test_a_super_net_that_is_there_already_is_taken_and_its_time_given_to_the_trials() -> None:
    anew = fit_training_time(Recovery(), (), 600, 2, RATES)
    there = replace(RATES, trained={"copies": 2, "supernet_epochs": 0.6 * anew.supernet_epochs})
    found = fit_training_time(Recovery(), (), 600, 2, there)
    assert (found.copies, found.supernet_epochs) == (2, 0.6 * anew.supernet_epochs)
    assert found.epochs > anew.epochs
    too_short = replace(RATES, trained={"copies": 2, "supernet_epochs": 0.4 * anew.supernet_epochs})
    assert fit_training_time(Recovery(), (), 600, 2, too_short) == anew


def nothing() -> float:
    return 0.0


def test_a_search_that_finds_nothing_more_has_stalled() -> None:
    steady, flat = HypervolumeHistory(), HypervolumeHistory()
    for trial in range(100):
        steady.add(10.0 * trial, 1.0 + 0.01 * trial)
        flat.add(10.0 * trial, 1.0 + 0.01 * min(trial, 40))
    assert steady.stalled(nothing) is None
    assert flat.stalled(nothing) is not None
    assert "grew by 0.0 %" in (flat.stalled(nothing) or "")
    assert flat.stalled(lambda: 0.1) is None  # something is known that would add to it
    assert "brought 25.1 %" in (steady.forecast() or "")  # 0.50 of 1.99
    young = HypervolumeHistory()
    for trial in range(29):
        young.add(100.0 * trial, 1.0)
    assert young.stalled(nothing) is None  # too few trials to tell
    assert young.forecast() is None


def test_what_a_trial_brought_is_a_part_of_all() -> None:
    returns = HypervolumeHistory()
    assert returns.brought() == 0.0
    found = []
    for hypervolume in (0.0, 2.0, 2.0, 2.5):
        returns.add(1.0, hypervolume)
        found.append(returns.brought())
    assert found == [0.0, 1.0, 0.0, 0.2]


def test_an_earlier_study_of_the_same_teacher_gives_its_front(tmp_path: Path) -> None:
    first = open_study(tmp_path, study="first")
    with first.lease():
        search(first, 20)
    found = warm_start_recipes(plan_in(tmp_path, study="second"))
    assert 0 < len(found) <= 8
    second = open_study(tmp_path, study="second")
    with second.lease():
        search(second, 0)
        begun = [second.ask().recipe for _ in range(len(second.space.initial_recipes()) + len(found))]  # type: ignore[union-attr]
    assert set(found) <= set(begun)
    assert warm_start_recipes(plan_in(tmp_path, study="third", teacher={"model": "./another"})) == []
    off = open_study(tmp_path, study="fourth", engine={"starters": False})
    with off.lease():
        search(off, 0)
        assert not off.waits()
