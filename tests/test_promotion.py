"""Which candidates are trained further, by the arithmetic alone and by a whole search over a formula."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from autocompress.core.domain import Anatomy
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.search import supervisor as searching
from autocompress.search import worker_pool as crews
from autocompress.search.budget import BudgetMeter
from autocompress.search.known_trials import KnownTrials
from autocompress.search.scheduler import FEWEST_UNTRAINED, PromotionRequest, Scheduler
from autocompress.selection import Promotion, Reference, beyond_trained, hypervolume, on_front, promotions, standings
from autocompress.study import StudyView, read_study
from tests.formula import FormulaExecutor, open_study, plan_in, space

CORNER = Reference(drop_points=10.0, latency_ms=8.0, size_mb=80.0)


def row(trial: int, rung: int, drop: float, latency: float = 1.0, size: float = 10.0, **others: object) -> TrialRow:
    recipe = others.pop("recipe", Recipe(depth=trial))
    values = {"state": "complete", "reason": None, "sha256": f"sha {trial}", "recipe": recipe, **others}
    return TrialRow(trial=trial, rung=rung, quality=0.9 - drop, drop=drop, latency_ms=latency, size_mb=size, **values)  # type: ignore[arg-type]


def trials(found: list[Promotion]) -> list[int]:
    return [one.row.trial for one in found]


def test_promotions_rank_non_dominated_candidates_by_gain() -> None:
    rows = [row(1, 0, 0.02, 1.0, 10.0), row(2, 0, 0.03, 1.0, 10.0), row(3, 0, 0.09, 0.9, 10.0)]
    found = promotions(rows, 0, CORNER, {})
    assert trials(found) == [1, 3]  # 2 is dominated by 1
    assert [one.rank for one in found] == [0, 0]
    covered = hypervolume(rows, CORNER)
    assert hypervolume([*rows, replace(rows[0], drop=0.45 * 0.02)], CORNER) - covered == pytest.approx(found[0].gain)
    assert promotions(rows, 1, CORNER, {}) == []


def test_promotions_rank_by_gain_per_training_time() -> None:
    large, small = row(1, 0, 0.02, 4.0, 10.0), row(2, 0, 0.05, 1.0, 10.0)
    gains = {one.row.trial: one.gain for one in promotions([large, small], 0, CORNER, {})}
    assert gains[1] < 4 * gains[2]
    assert trials(promotions([large, small], 0, CORNER, {})) == [2, 1]
    large = row(1, 0, 0.02, 1.1, 4.0)
    gains = {one.row.trial: one.gain for one in promotions([large, small], 0, CORNER, {})}
    assert gains[1] > 1.1 * gains[2]
    assert trials(promotions([large, small], 0, CORNER, {})) == [1, 2]


def test_promotions_exclude_trained_and_hopeless_candidates() -> None:
    rows = [row(1, 0, 0.02), row(2, 0, 0.03), row(4, 1, 0.015, recipe=Recipe(depth=1))]
    assert trials(promotions(rows, 0, CORNER, {})) == [2]  # 1 was trained further; 2 may yet come below 1.5 points
    assert trials(promotions(rows, 1, CORNER, {})) == [4]
    running = replace(rows[2], state="running", quality=None, drop=None, latency_ms=None, size_mb=None)
    assert trials(promotions([*rows[:2], running], 0, CORNER, {})) == [2]
    beyond = [row(1, 0, 0.30)]  # even 13 points are beyond the corner
    assert promotions(beyond, 0, CORNER, {}) == []
    assert promotions([row(1, 0, 0.02, size=20.0)], 0, CORNER, {"max_size_mb": 15, "max_drop": 0.001}) == []
    assert trials(promotions([row(1, 0, 0.02)], 0, CORNER, {"max_drop": 0.01})) == [
        1
    ]  # training may reduce the drop to that
    assert promotions([row(1, 0, 0.05)], 0, CORNER, {"max_drop": 0.01}) == []  # but hardly from 5 points


def test_expected_gain_follows_candidates_of_similar_latency() -> None:
    helped = [row(n, 0, 0.08, 7.9, 79.0, recipe=Recipe(depth=n)) for n in range(1, 5)]
    much = [row(20 + n, 1, 0.01, 7.9, 79.0, recipe=Recipe(depth=n)) for n in range(1, 5)]
    little = [row(20 + n, 1, 0.079, 7.9, 79.0, recipe=Recipe(depth=n)) for n in range(1, 5)]

    def gain(latency: float, further: list[TrialRow]) -> float:
        waiting = row(9, 0, 0.10, latency=latency, recipe=Recipe(depth=9))
        found = promotions([*helped, waiting, *further], 0, CORNER, {})
        assert trials(found) == [9]
        return found[0].gain

    assert gain(6.0, much) > 2 * gain(6.0, little)
    assert gain(0.05, much) < 1.1 * gain(0.05, little)  # so small a model has nothing to do with them


def test_standings_name_the_outcome_of_every_untrained_trial() -> None:
    rows = [row(1, 0, 0.02), row(2, 0, 0.30), row(3, 0, 0.05, latency=0.5), row(4, 1, 0.015, recipe=Recipe(depth=1))]
    outcomes = standings(rows, CORNER, {})
    assert outcomes[1] == "trained further as trial 4"
    assert outcomes[2] == "not trained further: others promised more"
    assert outcomes[3] == "number 1 in line for more training when the search ended"
    assert set(outcomes) == {1, 2, 3, 4}


def test_only_the_first_training_of_weights_takes_of_a_rungs_time() -> None:
    done = [
        row(0, 2, 0.0, recipe=Recipe(depth=6), seconds=9.0),  # the teacher, and then its weights in fewer bits
        row(1, 2, 0.0, recipe=Recipe(depth=6, weight_bits=8), seconds=7.0),
        row(2, 2, 0.01, recipe=Recipe(depth=3, weight_bits=8), seconds=60.0),
        row(3, 2, 0.02, recipe=Recipe(depth=3, weight_bits=4), seconds=5.0),
        row(4, 0, 0.02, recipe=Recipe(depth=3, weight_bits=8), seconds=3.0),
        row(5, 2, 0.02, recipe=Recipe(depth=2), state="stopped", seconds=1.0),
    ]
    for reuse, expected in ((True, [3.0, 0.0, 61.0]), (False, [3.0, 0.0, 66.0])):
        known = KnownTrials(("quality",), {}, CORNER, reuse=reuse)
        for one in done:
            known.add(one)
        assert known.seconds == pytest.approx(expected)


def test_a_rung_that_is_behind_is_fed_from_below_where_nothing_waits_for_it(tmp_path: Path) -> None:
    schedule = Scheduler(plan_in(tmp_path), space(), BudgetMeter(plan_in(tmp_path).budget, open_study(tmp_path)))

    def chosen(*rows: TrialRow) -> PromotionRequest | str | None:
        known = KnownTrials(("quality",), {}, CORNER)
        for one in (row(0, 2, 0.0, 8.0, 80.0, recipe=Recipe(depth=6)), *rows):
            known.add(one)
        return schedule.choose(known, [])

    untrained = [row(n, 0, 0.01 * (5 - n), 0.5 * n, recipe=Recipe(depth=n), seconds=5.0) for n in range(1, 5)]
    full = row(9, 2, 0.03, 0.5, recipe=Recipe(depth=1), seconds=5.0)
    assert chosen(*untrained[:3]) is None  # too few to choose among
    short = row(8, 1, 0.035, 0.5, recipe=Recipe(depth=1), seconds=30.0)
    further = chosen(*untrained, short, full)  # full training is furthest behind, short training furthest ahead
    assert isinstance(further, PromotionRequest)
    assert (further.rung, further.recipe["depth"]) == (1, 2)
    further = chosen(*untrained, short, full, row(10, 1, 0.02, 1.0, recipe=Recipe(depth=2), seconds=1.0))
    assert isinstance(further, PromotionRequest)
    assert (further.rung, further.recipe["depth"]) == (2, 2)
    assert chosen(*untrained, short, replace(full, seconds=60.0)) is None  # now something new is


def test_what_would_not_end_in_time_is_left_and_a_smaller_one_taken(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, budget={"time": "100s"})
    meter = BudgetMeter(plan.budget, open_study(tmp_path))
    assert meter.fits(2, 50.0)  # nothing is known of how long that takes
    meter.durations[2] = [(0.5, 50.0), (4.0, 90.0)]
    assert meter.fits(2) and meter.fits(2, 1.0) and meter.fits(2, 5.0)
    assert not meter.fits(2, 1.35)  # 135 s, as the half-millisecond one says
    assert not meter.fits(2, 6.0)
    known = KnownTrials(("quality",), {}, CORNER)
    large = row(1, 1, 0.02, 1.35, 5.0, recipe=Recipe(depth=5), seconds=1.0)
    small = row(2, 1, 0.05, 0.5, 70.0, recipe=Recipe(depth=2), seconds=1.0)
    tried = [row(9 + n, 0, 0.3, 9.0, 90.0, recipe=Recipe(depth=n, ffn_sparsity=0.1), seconds=9.0) for n in range(1, 5)]
    for one in (row(0, 2, 0.0, 8.0, 80.0, recipe=Recipe(depth=6)), large, small, *tried):
        known.add(one)
    assert trials(known.promotions(1))[0] == 1
    further = Scheduler(plan, space(), meter).choose(known, [])
    assert isinstance(further, PromotionRequest)
    assert (further.recipe["depth"], further.rung) == (2, 2)


def test_what_is_much_faster_than_all_that_was_trained_in_full_is_trained_next() -> None:
    teacher = row(0, 2, 0.0, 8.0, 80.0, recipe=Recipe(depth=6))
    full = row(9, 2, 0.0, 3.0, recipe=Recipe(depth=5))
    near, far, bad = row(1, 0, 0.01, 2.5), row(2, 0, 0.03, 1.0), row(3, 1, 0.2, 0.5)
    rows = [teacher, near, far, bad]
    assert beyond_trained(rows, {}) is None  # nothing was trained in full yet
    assert beyond_trained([*rows, full], {"max_drop": 0.01}) == far  # near is not much faster, bad is too bad
    assert beyond_trained([*rows, full], {"max_drop": 0.05}) == far
    assert beyond_trained([*rows, full], {"max_size_mb": 5.0}) is None
    fuller = row(10, 2, 0.01, 1.0, recipe=Recipe(depth=2))
    assert beyond_trained([*rows, full, fuller], {"max_drop": 0.05}) == bad
    sibling = replace(bad, trial=4, recipe=Recipe(depth=2, weight_bits=8))  # the weights of one that was trained
    assert beyond_trained([teacher, fuller, sibling], {"max_drop": 0.05}) is None


# ---- a whole search --------------------------------------------------------------------------------------------------


def searched(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> StudyView:
    """A search in which a formula stands in for the workers."""
    monkeypatch.setattr(crews, "LocalExecutor", FormulaExecutor)
    plan = plan_in(folder, **changes)
    study = open_study(folder, **changes)
    with study.lease(), crews.open_worker_pool(plan, SilentDisplay(), offline=True) as pool:
        searching.Supervisor(plan, study, space(), pool).run()
    return read_study(plan.storage, plan.study)


def test_a_search_goes_up_the_rungs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = searched(tmp_path, monkeypatch, budget={"trials": 60}, workers=2)
    rows = [one for one in view.rows if one.trial]
    count = Counter(one.rung for one in rows)
    assert count[0] > count[1] > 0
    assert count[2] > 0
    for one in rows:
        below = [other for other in rows if other.recipe == one.recipe and (other.rung or 0) < (one.rung or 0)]
        siblings = [
            other for other in rows if other.recipe.trained() == one.recipe.trained() and other.rung == one.rung
        ]
        assert one.rung == 0 or below or len(siblings) > 1 or one.recipe.trained() == Recipe(depth=6)
    done = [one for one in rows if one.reason is None]  # the others are told what a twin came out as
    assert len({(one.recipe.key, one.rung) for one in done}) == len(done)
    front = [one for one in rows if one.trial in on_front(view.rows, constraints=view.constraints)]
    assert 2 in {one.rung for one in front}


def test_good_candidates_are_trained_before_all_starters_were_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(SilentDisplay, "finished", lambda self, trial, recipe, outcome, words: ended.append(words))
    searched(tmp_path, monkeypatch, budget={"trials": 60}, constraints={})
    initial_recipes = {f"{recipe.describe()}, untrained" for recipe in space().initial_recipes()} & set(ended)
    first = next(place for place, words in enumerate(ended) if words.endswith("trained shortly"))
    before = [words for words in ended[:first] if words.endswith("untrained")]
    assert FEWEST_UNTRAINED <= len(before) < len(initial_recipes)
    assert initial_recipes <= set(ended)


def test_structures_are_first_tried_in_the_usual_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = searched(tmp_path, monkeypatch, budget={"trials": 40}, engine={"starters": False})
    usual = space().first_values()
    assert usual == {"weight_bits": 8, "embedding_bits": 8}
    first = [one for one in view.rows if one.trial and one.rung == 0 and one.reason is None]
    assert sum(usual.items() <= one.recipe.as_dict().items() for one in first) > 0.7 * len(first)
    assert len({one.recipe.trained().key for one in first}) > 0.7 * len(first)  # hardly any structure twice
    full = [one for one in view.rows if one.rung == 2]
    assert len({(one.recipe["weight_bits"], one.recipe["embedding_bits"]) for one in full}) > 2


def test_without_rungs_every_trial_is_trained_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = searched(tmp_path, monkeypatch, budget={"trials": 12}, engine={"rungs": False})
    assert {one.rung for one in view.rows if one.trial} == {2}


def test_a_small_space_is_searched_up_to_its_last_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"depth": [2, 4], "ffn_sparsity": [0.5, 0.8], "weight_bits": [8], "embedding_bits": [8]}
    from autocompress.space.parsing import resolve_space

    monkeypatch.setattr(crews, "LocalExecutor", FormulaExecutor)
    monkeypatch.setattr(searching, "DRAWS", 20)  # of four recipes; each draw asks the database
    plan, tiny = (
        plan_in(tmp_path, space=small, budget={"trials": 100}, constraints={}),
        resolve_space(small, Anatomy(6), {}, "space"),
    )
    study = searching.Study.open(plan, tiny)
    with study.lease(), crews.open_worker_pool(plan, SilentDisplay(), offline=True) as pool:
        ending = searching.Supervisor(plan, study, tiny, pool).run()
    assert "the space is exhausted" in ending.reason
    rows = read_study(plan.storage, plan.study).rows
    assert {one.recipe.key for one in rows if one.rung == 0 and one.reason is None} == {
        one.recipe.key for one in rows if one.rung == 0
    }
    assert any(one.rung == 2 for one in rows)
