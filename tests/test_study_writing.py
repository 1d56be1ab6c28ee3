"""Asking for trials, telling their outcomes, duplicates and the queue."""

from __future__ import annotations

import pytest

from autocompress.core.agreement import Agreement
from autocompress.core.errors import UsageError
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome
from autocompress.space.space import Space
from autocompress.study import Study, samplers
from tests.formula import complete, outcome_of, quality, space, teacher_outcome
from tests.toy_study import ToyStudy


def test_ask_requires_the_teacher(toy: ToyStudy) -> None:
    study = toy.open()
    with study.lease():
        with pytest.raises(ValueError, match="trial 0"):
            study.ask()
        with pytest.raises(ValueError, match="teacher must be complete"):
            study.record_teacher(Outcome(state="failed", reason="no such model"))


def test_find_duplicate_reuses_an_outcome_without_counting_it(
    begun: Study, toy: ToyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begun.ask()
    assert begun.find_duplicate(first.recipe) is None
    begun.tell(first.number, first.recipe, outcome_of(first.recipe))
    before = begun.budget_spent().trials
    duplicate = begun.find_duplicate(first.recipe)
    assert duplicate is not None
    assert (duplicate.measurement, duplicate.sha256) == (outcome_of(first.recipe).measurement, first.recipe.key)
    monkeypatch.setattr(Space, "suggest", lambda *_: first.recipe)  # as a sampler repeats itself sooner or later
    second = begun.ask()
    begun.tell(second.number, second.recipe, duplicate)
    row = toy.view().row(second.number)
    assert (row.state, row.reason) == ("complete", f"the same candidate as trial {first.number}")
    assert begun.budget_spent().trials == before
    assert {row.trial for row in toy.view().front} <= {first.number}


def test_a_duplicate_shows_the_comparison_of_its_model(
    begun: Study, toy: ToyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begun.ask()
    begun.tell(first.number, first.recipe, outcome_of(first.recipe))
    compared = Agreement(rows=1000, disagreement=0.05, confidence_drop=0.02)
    begun.record_agreement(first.number, compared)
    duplicate = begun.find_duplicate(first.recipe)
    assert duplicate is not None
    with monkeypatch.context() as patch:
        patch.setattr(Space, "suggest", lambda *_: first.recipe)
        second = begun.ask()
    begun.tell(second.number, second.recipe, duplicate)
    third = begun.ask()
    begun.tell(third.number, third.recipe, outcome_of(third.recipe))
    rows = {row.trial: row for row in toy.view().rows}
    assert rows[first.number].agreement == rows[second.number].agreement == compared
    assert rows[third.number].agreement is None and rows[third.number].sha256 != rows[first.number].sha256


def test_find_duplicate_requires_the_same_rung(begun: Study, toy: ToyStudy) -> None:
    first = begun.ask(lambda recipe: 0)
    assert first.rung == 0
    begun.tell(first.number, first.recipe, outcome_of(first.recipe, 0))
    assert toy.view().row(first.number).rung == 0
    assert begun.find_duplicate(first.recipe, 0) is not None
    assert begun.find_duplicate(first.recipe, 1) is None
    assert begun.enqueue([first.recipe]) == 0  # known
    assert begun.enqueue([first.recipe], rung=2) == 1  # not trained as far as that
    assert begun.enqueue([first.recipe], rung=1) == 0  # waits at a higher rung
    while (promoted := begun.ask(lambda recipe: 0)).recipe != first.recipe:  # initial recipes wait before it
        begun.tell(promoted.number, promoted.recipe, outcome_of(promoted.recipe, 0))
    assert promoted.rung == 2
    begun.tell(promoted.number, promoted.recipe, outcome_of(promoted.recipe))
    duplicate = begun.find_duplicate(first.recipe, 0)  # the trial at the highest rung
    assert duplicate is not None
    assert duplicate.sha256 == outcome_of(first.recipe).sha256


def test_find_duplicate_returns_stopped_trials_only_under_their_constraints(toy: ToyStudy) -> None:
    study = toy.open()
    with study.lease():
        study.record_teacher(teacher_outcome())
        asked = study.ask()
        study.tell(asked.number, asked.recipe, Outcome(state="stopped", reason="too large"))
        duplicate = study.find_duplicate(asked.recipe)
        assert duplicate is not None
        assert (duplicate.state, duplicate.reason) == ("stopped", "too large")
    with toy.open(constraints={"max_size_mb": 90}).lease():
        pass
    assert toy.open(constraints={"max_size_mb": 90}).find_duplicate(asked.recipe) is None


def test_tell_twice_changes_nothing(begun: Study, toy: ToyStudy) -> None:
    asked = begun.ask()
    begun.tell(asked.number, asked.recipe, outcome_of(asked.recipe))
    before = toy.view().rows
    begun.tell(asked.number, asked.recipe, Outcome(state="failed", reason="late"))
    assert toy.view().rows == before


def test_budget_counts_stopped_and_failed_trials(begun: Study, toy: ToyStudy) -> None:
    for outcome in (Outcome(state="stopped", reason="too slow"), Outcome(state="failed", reason="out of memory")):
        asked = begun.ask()
        begun.tell(asked.number, asked.recipe, outcome)
        row = toy.view().row(asked.number)
        assert (row.state, row.reason, row.quality) == (outcome.state, outcome.reason, None)
    assert begun.budget_spent().trials == 2


def test_enqueue_skips_known_and_waiting_recipes(begun: Study) -> None:
    new = space().canonical({"depth": 2, "attention": "local", "attention_window": 32})
    assert begun.enqueue(space().initial_recipes()) == 0
    assert begun.enqueue([new, new, Recipe(depth=6)]) == 1  # the last is the teacher
    for _ in space().initial_recipes():
        begun.ask()
    assert begun.ask().recipe == new


def test_view_shows_running_trials(begun: Study, toy: ToyStudy) -> None:
    asked = begun.ask()
    row = toy.view().row(asked.number)
    assert (row.state, row.recipe, row.reason) == ("running", asked.recipe, None)
    assert begun.budget_spent().trials == 0


def test_record_quality_replaces_the_earlier_one(begun: Study, toy: ToyStudy) -> None:
    asked = begun.ask()
    with pytest.raises(ValueError, match="running"):
        begun.record_quality(asked.number, quality("test", 0.01))
    begun.tell(asked.number, asked.recipe, complete(0.01, 2.0, 20.0, "a" * 64, 0.05))
    for drop in (0.03, 0.02):
        begun.record_quality(asked.number, quality("test", drop))
    row = toy.view().row(asked.number)
    assert (row.drop, row.test_drop, row.test_quality) == (0.01, 0.02, 0.88)
    assert row.test_drop_interval == pytest.approx((0.004, 0.036))


def test_make_sampler_by_name() -> None:
    assert type(samplers.make_sampler("tpe", 1)).__name__ == "TPESampler"
    assert type(samplers.make_sampler("gp", 1)).__name__ == "GPSampler"
    with pytest.raises(UsageError, match="unknown sampler 'cma'; available: tpe, gp"):
        samplers.make_sampler("cma", 1)
