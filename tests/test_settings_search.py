"""The search for settings of fine-tuning, on learning curves that are formulas."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.search.fine_tuning_length import (
    MOST_EPOCHS,
    SEARCH_LEVELS,
    first_setting,
    search_size,
    stop_rows,
    usual_length,
)
from autocompress.training.settings_search import (
    FRACTIONS,
    LONGER,
    SHORTER,
    CurvePoint,
    SearchLimits,
    Setting,
    SettingTrial,
    leading_trial,
    next_training,
    search_settings,
    whole_length,
)

FIRST = Setting(learning_rate=1e-4, batch=32, warmup=0.06)
SIX = SearchLimits(settings=6)
Quality = Callable[[Setting, float], float]  # after that fraction of the length


def best_at(rate: float, batch: int = 32) -> Quality:
    """A curve that rises all the time, the higher the nearer the setting is to the best one."""

    def quality(setting: Setting, fraction: float) -> float:
        distance = abs(math.log2(setting.learning_rate / rate)) + abs(math.log2(setting.batch / batch))
        return 0.9 - 0.05 * distance - 0.1 * (1 - fraction)

    return quality


class Trainer:
    """Trains by formula."""

    def __init__(self, quality: Quality, dies_after: int | None = None) -> None:
        self.quality, self.trainings_left = quality, math.inf if dies_after is None else dies_after
        self.trials: list[SettingTrial] = []

    def run(self, limits: SearchLimits = SIX) -> SettingTrial | None:
        search_settings(self.trials, FIRST, limits, self.train)
        leader = leading_trial(self.trials)
        return None if leader is None else self.trials[leader]

    def train(self, number: int) -> None:
        if self.trainings_left == 0:
            raise KeyboardInterrupt
        self.trainings_left -= 1
        trial = self.trials[number]
        quality = self.quality(trial.setting, FRACTIONS[len(trial.curve)])
        if math.isnan(quality):
            trial.failure, trial.is_too_large = "diverged", trial.setting.batch > 16
        else:
            trial.curve.append(CurvePoint(rows=100, quality=quality, loss=1 - quality))

    @property
    def lengths(self) -> float:
        return sum(trial.setting.cost * sum(FRACTIONS[: len(trial.curve)]) for trial in self.trials)


@pytest.mark.parametrize("rate", [2.5e-5, 5e-5, 1e-4, 2e-4, 4e-4])
def test_the_search_finds_the_best_rate_near_the_first(rate: float) -> None:
    trainer = Trainer(best_at(rate))
    best = trainer.run()
    assert best is not None and best.setting.learning_rate == pytest.approx(rate)
    assert len(best.curve) == len(FRACTIONS)
    assert trainer.lengths <= 4.2  # half of the settings are not trained further


def test_the_search_finds_another_batch() -> None:
    best = Trainer(best_at(1e-4, batch=16)).run()
    assert best is not None and best.setting.batch == 16


def test_no_setting_is_tried_twice_and_none_beyond_the_limit() -> None:
    trainer = Trainer(best_at(1e-3))
    trainer.run(SearchLimits(settings=5))
    settings = [trial.setting for trial in trainer.trials]
    assert len(settings) == len(set(settings)) == 5


def test_a_setting_that_fails_is_left_out() -> None:
    trainer = Trainer(lambda setting, at: math.nan if setting.learning_rate > 1e-4 else best_at(4e-4)(setting, at))
    best = trainer.run()
    assert best is not None and best.setting.learning_rate == 1e-4
    assert [trial.failure for trial in trainer.trials].count("diverged") >= 1


def test_a_batch_that_was_too_large_is_tried_with_no_other_rate() -> None:
    trainer = Trainer(lambda setting, at: math.nan if setting.batch > 16 else best_at(4e-4, 64)(setting, at))
    trainer.run()
    assert [trial.setting.batch > 16 for trial in trainer.trials].count(True) == 1


@pytest.mark.parametrize("limits", [SIX, SearchLimits(settings=1, lengths=0.0)])
def test_where_every_setting_fails_smaller_batches_are_tried(limits: SearchLimits) -> None:
    trainer = Trainer(lambda setting, at: math.nan if setting.batch > 4 else best_at(1e-4)(setting, at))
    if limits.lengths is not None:  # no search, but the first setting failed in the whole fine-tuning
        trainer.trials.append(SettingTrial(FIRST, failure="no memory", is_too_large=True))
    best = trainer.run(limits)
    assert best is not None and best.setting.batch <= 4
    assert [trial.setting.batch for trial in trainer.trials[:4]] == [32, 16, 8, 4]
    assert Trainer(lambda setting, at: math.nan).run(limits) is None


@given(st.floats(0, 6))
def test_the_search_keeps_to_its_lengths(lengths: float) -> None:
    trainer = Trainer(best_at(4e-4, 16))
    best = trainer.run(SearchLimits(settings=6, lengths=lengths))
    assert trainer.lengths <= lengths
    assert (best is None) == (lengths < FRACTIONS[0])


def test_a_search_ends_at_once_when_its_time_is_over() -> None:
    trainer = Trainer(best_at(4e-4))
    search_settings(trainer.trials, FIRST, SIX, trainer.train, lambda: len(trainer.trials) == 2)
    assert len(trainer.trials) == 2


@given(st.integers(0, 12))
def test_a_search_that_was_interrupted_ends_as_one_that_was_not(dies_after: int) -> None:
    whole, part = Trainer(best_at(2e-4, 16)), Trainer(best_at(2e-4, 16), dies_after)
    whole.run()
    try:
        part.run()
    except KeyboardInterrupt:
        rest = Trainer(part.quality)
        rest.trials = [SettingTrial.from_json(json.loads(json.dumps(trial.as_json()))) for trial in part.trials]
        rest.run()
        assert rest.trials == whole.trials


def trial(*qualities: float) -> SettingTrial:
    return SettingTrial(FIRST, [CurvePoint(rows=1, quality=quality, loss=0.0) for quality in qualities])


def test_the_leader_is_the_best_of_those_trained_furthest() -> None:
    assert leading_trial([trial(0.9), trial(0.7, 0.8), trial(0.8, 0.7)]) == 1
    assert leading_trial([trial(0.9), SettingTrial(FIRST, failure="diverged")]) == 0
    assert leading_trial([]) is None
    assert next_training([], FIRST, SIX) == FIRST


def test_the_length_follows_the_gain_of_twice_the_length() -> None:
    assert whole_length(trial(0.80, 0.85), 500) == LONGER
    assert whole_length(trial(0.90, 0.91), 500) == 1
    assert whole_length(trial(0.90, 0.895), 500) == 1  # within its standard error, 0.013
    assert whole_length(trial(0.90, 0.87), 500) == SHORTER
    assert whole_length(trial(0.90), 500) == whole_length(None, 500) == 1


def test_a_shorter_training_has_a_higher_rate() -> None:
    assert FIRST.rate_at(1.0) == FIRST.learning_rate
    assert FIRST.rate_at(0.25) == pytest.approx(FIRST.learning_rate * 4**0.32)


# ---- where it begins, and how much it may train --------------------------------------------------------------------


def test_first_setting_for_known_models() -> None:
    assert first_setting(2, 384).learning_rate == 1e-4
    assert first_setting(2, 768).learning_rate == 5e-5  # the range of Devlin et al. (2019) for a base model
    assert first_setting(151, 384).learning_rate == 2e-4
    assert first_setting(2, 16).learning_rate == 3e-4 and first_setting(2, 8192).learning_rate == 2e-5


@given(st.integers(50, 10**6), st.integers(2, 1000), st.integers(0, 100))
def test_more_labels_and_fewer_rows_mean_more_steps_an_epoch(rows: int, labels: int, more: int) -> None:
    few, many = usual_length(rows, labels), usual_length(rows, labels + more)
    assert rows <= few <= many <= MOST_EPOCHS * rows
    assert usual_length(2 * rows, labels) / (2 * rows) <= few / rows + 1e-6


@given(st.integers(50, 10**7))
def test_stop_rows_are_a_fifth_and_at_most_1000(rows: int) -> None:
    assert stop_rows(rows) == min(1000, rows // 5)


@given(st.integers(1000, 10**6), st.floats(0.05, 20))
def test_a_search_and_the_whole_fine_tuning_fit_into_what_is_affordable(usual: int, times: float) -> None:
    size = search_size(usual, times * usual)
    assert size.limits.lengths is not None
    assert size.length * (1 + size.limits.lengths) <= 1.05 * times * usual + 1
    assert size.length == usual or (size.limits.lengths == 0 and size.length <= 1.5 * usual)
    assert size.length >= min(usual, times * usual) * 0.9 - 1  # two digits


def test_without_a_time_limit_a_search_is_the_longest() -> None:
    assert search_size(18_000, None).limits == SIX
    assert search_size(18_000, 1e9).limits.lengths == SEARCH_LEVELS[-1]
