"""The notes of trials and studies, as Optuna's dashboard reads them."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from autocompress.benchmarking import with_drift
from autocompress.core.measurement import Interval, Latency
from autocompress.interfaces.presenters import rows_with_reasons
from autocompress.study import Study
from autocompress.study.dashboard_attributes import save_note
from autocompress.study.dashboard_notes import NotedTrial, trial_note
from tests.formula import outcome_of
from tests.toy_study import ToyStudy, searched_on_sqlite


@searched_on_sqlite
def test_dashboard_reads_notes_of_trials_and_study(searched_toy: ToyStudy) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    study = searched_toy.optuna_study()
    trial = optuna.trial.Trial(study, study.trials[1]._trial_id)
    note = dashboard.get_note(trial)
    assert "| metric | teacher | this |\n|:--|--:|--:|\n| quality (validation) | 0.9000 | " in note
    assert "| quality (test) |" in note
    assert "autocompress export toy --trial 1 " in note
    assert "max_drop 0.03 held" in note
    assert "runtime formula, threads 1" in note
    assert all(len(dashboard.get_note(optuna.trial.Trial(study, frozen._trial_id))) < 2000 for frozen in study.trials)
    front = dashboard.get_note(study)
    assert f"{len(searched_toy.view().front)} models" in front


@searched_on_sqlite
def test_trial_note_stays_short(searched_toy: ToyStudy) -> None:
    row = replace(searched_toy.view().rows[1], reason="| `why` <b>\n" * 1000)
    noted = NotedTrial(
        trial_id=1, row=row, teacher=None, conditions={"cpu": "long name " * 300, "threads": 1},
        facts={"recall": {f"label {number} " * 100: (0.5, 0.6) for number in range(200)}},
        stages={f"stage {number}": 1.0 for number in range(100)},
    )  # fmt: skip
    note = trial_note("long name " * 300, noted, {})
    assert len(note) <= 2045
    assert "/ 'why' ‹b> / 'why'" in note


@searched_on_sqlite
def test_trial_note_holds_the_whole_description_of_noise(searched_toy: ToyStudy) -> None:
    ends = Interval(low=7.5, high=8.5)
    latency = Latency(p50_ms=1, p95_ms=1, reference_p50_ms=8, speedup=8, speedup_interval=ends, blocks=12)
    noise = with_drift(replace(latency, noise="12 of 12 pairs of blocks were disturbed, and left out"), 0.18).noise
    assert noise is not None
    noted = NotedTrial(trial_id=1, row=searched_toy.view().rows[1], teacher=None, conditions={"noise": noise})
    assert f"noise {noise}" in trial_note("toy", noted, {})


def test_save_note_replaces_a_longer_note(toy: ToyStudy) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    study = optuna.create_study(storage=toy.optuna_storage())
    for text in ("long " * 1000, "short"):
        save_note(study._storage, study._study_id, None, text)
        assert dashboard.get_note(study) == text


def test_finish_notes_the_standing_of_untrained_trials(begun: Study, toy: ToyStudy) -> None:
    first = begun.ask(lambda recipe: 0)
    begun.tell(first.number, first.recipe, outcome_of(first.recipe, 0))
    begun.enqueue([first.recipe], rung=2)
    while (promoted := begun.ask(lambda recipe: 0)).rung != 2:
        begun.tell(promoted.number, promoted.recipe, outcome_of(promoted.recipe, 0))
    begun.tell(promoted.number, promoted.recipe, outcome_of(promoted.recipe))
    begun.finish()
    study = toy.optuna_study()
    trial = optuna.trial.Trial(study, study.trials[first.number]._trial_id)
    assert f"trained further as trial {promoted.number}" in pytest.importorskip("optuna_dashboard").get_note(trial)
    reasons = {row.trial: row.reason for row in rows_with_reasons(toy.view())}
    assert reasons[first.number] == f"trained further as trial {promoted.number}"
    assert reasons[promoted.number] is None
