"""Warm start: recipes of an earlier study of the same teacher."""

from __future__ import annotations

from pathlib import Path

from autocompress.study.warm_start import warm_start_recipes
from tests.formula import open_study, plan_in, search


def test_warm_start_recipes_are_the_front_of_an_earlier_study_of_the_same_teacher(tmp_path: Path) -> None:
    first = open_study(tmp_path, study="first")
    with first.lease():
        search(first, 20)
    recipes = warm_start_recipes(plan_in(tmp_path, study="second"))
    assert 0 < len(recipes) <= 8
    second = open_study(tmp_path, study="second")
    with second.lease():
        search(second, 0)
        asked = [second.ask().recipe for _ in range(len(second.space.initial_recipes()) + len(recipes))]  # type: ignore[union-attr]
    assert set(recipes) <= set(asked)
    assert warm_start_recipes(plan_in(tmp_path, study="third", teacher={"model": "./another"})) == []
    off = open_study(tmp_path, study="fourth", engine={"starters": False})
    with off.lease():
        search(off, 0)
        assert not off.has_waiting()
