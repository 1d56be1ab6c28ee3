"""The study database: a whole search with a formula in place of the pipeline, against real SQLite files."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from optuna.trial import TrialState
from sqlalchemy import create_engine

from autocompress.benchmarking import with_drift
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.measurement import Interval, Latency, Outcome
from autocompress.core.recipe import DECISIONS, Recipe
from autocompress.interfaces.presenters import rows_with_reasons
from autocompress.selection import Reference, on_front, violations
from autocompress.space.space import Space
from autocompress.study import BudgetSpent, Study, StudyView, candidate_rows, read_study, samplers, studies
from autocompress.study import lease as lease_module
from autocompress.study.connections import connect_read_only
from autocompress.study.dashboard_notes import NotedTrial, save_note, trial_note
from autocompress.study.database import open_storage
from autocompress.study.tables import Base
from tests.formula import (
    ROWS,
    TEACHER_MB,
    TEACHER_MS,
    complete,
    open_study,
    outcome_of,
    plan_in,
    quality,
    search,
    space,
    teacher_outcome,
)

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of 25 trials, searched to its end; not to be changed."""
    folder = tmp_path_factory.mktemp("searched")
    study = open_study(folder)
    with study.lease():
        search(study, 25)
        study.add_seconds(12.5)
        study.record_quality(1, quality("test", 0.011))
        study.finish()
    return folder


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Study]:
    """A study whose teacher is recorded, with the lease held."""
    study = open_study(tmp_path)
    with study.lease():
        study.record_teacher(teacher_outcome())
        yield study


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def view(folder: Path) -> StudyView:
    return read_study(url(folder), "toy")


def optunas(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="toy", storage=optuna.storages.RDBStorage(url(folder)))


def sql(folder: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "study.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


# ---- a whole search ------------------------------------------------------------------------------------------------


def test_search_fills_rows_as_the_contract_says(searched: Path) -> None:
    seen = view(searched)
    rows = {row.trial: row for row in seen.rows}
    assert seen.teacher is not None
    assert rows[0] == seen.teacher
    assert (seen.teacher.latency_ms, seen.teacher.speedup, seen.teacher.compression) == (TEACHER_MS, 1.0, 1.0)
    finished = [row for row in seen.rows if row.trial > 0 and "same candidate" not in (row.reason or "")]
    assert len([row for row in finished if row.state in ("complete", "stopped")]) >= 25
    assert {row.state for row in seen.rows} <= {"complete", "stopped"}
    first = rows[1]
    told = outcome_of(first.recipe).measurement
    assert told is not None
    assert first.latency_ms == pytest.approx(TEACHER_MS / told.latency.speedup)  # not the raw time of a slower hour
    assert first.latency_p95_ms == pytest.approx(1.1 * first.latency_ms)
    assert first.compression == pytest.approx(TEACHER_MB / told.size_mb)
    assert first.test_drop == pytest.approx(0.011)
    assert (seen.seconds, seen.examples, seen.objectives) == (12.5, ROWS, ("quality", "latency_ms", "size_mb"))
    assert seen.constraints == {"max_drop": 0.03, "max_size_mb": 60}
    assert seen.reference == Reference(drop_points=10.0, latency_ms=TEACHER_MS, size_mb=TEACHER_MB)
    assert {row.trial for row in seen.front} == on_front(seen.rows, seen.objectives, seen.constraints)
    assert len(seen.front) >= 3
    json.dumps([row.as_json() for row in seen.rows], allow_nan=False)


def test_starters_come_first_and_no_candidate_is_measured_twice(searched: Path) -> None:
    rows = view(searched).rows
    initial_recipes = space().initial_recipes()
    assert [row.recipe for row in rows[1 : len(initial_recipes) + 1]] == initial_recipes
    anew = [row.recipe for row in rows if row.state == "complete" and row.reason is None]
    assert len(anew) == len(set(anew))


def test_optuna_has_the_same_trials(searched: Path) -> None:
    study, rows = optunas(searched), {row.trial: row for row in view(searched).rows}
    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}
    trials = [trial for trial in study.trials if trial.state != TrialState.WAITING]
    assert {trial.number: states[trial.state] for trial in trials} == {n: row.state for n, row in rows.items()}
    assert study.metric_names == ["quality", "latency_ms", "size_mb"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    for trial in trials:
        row = rows[trial.number]
        assert trial.constraints == pytest.approx(violations(row, {"max_drop": 0.03, "max_size_mb": 60}))
        if row.state == "complete":
            assert trial.values == [row.quality, row.latency_ms, row.size_mb]
            assert trial.user_attrs["speedup"] == row.speedup
            assert trial.user_attrs["drop_low"] < trial.user_attrs["drop"] < trial.user_attrs["drop_high"]
        else:
            assert trial.user_attrs["reason"] == row.reason
        assert all(isinstance(value, (int, float, str)) for value in trial.user_attrs.values())
        assert trial.user_attrs["depth"] == row.recipe.depth
    assert trials[0].params["depth"] == 6  # the teacher lies in the space


def test_recipes_are_kept_with_what_was_asked(searched: Path) -> None:
    study, rows = optunas(searched), {row.trial: row for row in view(searched).rows}
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        assert space().canonical(trial.params) == rows[trial.number].recipe


def test_notes_are_what_the_dashboard_reads(searched: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    study = optunas(searched)
    trial = optuna.trial.Trial(study, study.trials[1]._trial_id)
    note = dashboard.get_note(trial)
    assert "| metric | teacher | this |\n|:--|--:|--:|\n| quality (validation) | 0.9000 | " in note
    assert "| quality (test) |" in note
    assert "autocompress export toy --trial 1 " in note
    assert "max_drop 0.03 held" in note
    assert "runtime formula, threads 1" in note
    assert all(len(dashboard.get_note(optuna.trial.Trial(study, one._trial_id))) < 2000 for one in study.trials)
    front = dashboard.get_note(study)
    assert f"{len(view(searched).front)} models" in front


def test_notes_stay_short(searched: Path) -> None:
    row = replace(view(searched).rows[1], reason="| `why` <b>\n" * 1000)
    told = NotedTrial(
        trial_id=1, row=row, teacher=None, conditions={"cpu": "long name " * 300, "threads": 1},
        facts={"recall": {f"label {number} " * 100: (0.5, 0.6) for number in range(200)}},
        stages={f"stage {number}": 1.0 for number in range(100)},
    )  # fmt: skip
    note = trial_note("long name " * 300, told, {})
    assert len(note) <= 2045
    assert "/ 'why' ‹b> / 'why'" in note


def test_a_note_holds_all_that_was_noticed_of_noise(searched: Path) -> None:
    ends = Interval(low=7.5, high=8.5)
    found = Latency(p50_ms=1, p95_ms=1, reference_p50_ms=8, speedup=8, speedup_interval=ends, blocks=12)
    noise = with_drift(replace(found, noise="12 of 12 pairs of blocks were disturbed, and left out"), 0.18).noise
    assert noise is not None
    told = NotedTrial(trial_id=1, row=view(searched).rows[1], teacher=None, conditions={"noise": noise})
    assert f"noise {noise}" in trial_note("toy", told, {})


def test_a_shorter_note_replaces_a_longer_one(tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    study = optuna.create_study(storage=optuna.storages.RDBStorage(url(tmp_path)))
    for text in ("long " * 1000, "short"):
        save_note(study._storage, study._study_id, None, text)
        assert dashboard.get_note(study) == text


# ---- the database --------------------------------------------------------------------------------------------------


def test_view_results_has_a_column_per_decision(searched: Path) -> None:
    names = [column[1] for column in sql(searched, "PRAGMA table_info(results)")]
    assert set(DECISIONS) < set(names)
    assert {"study", "trial", "state", "reason", "quality", "drop", "latency_ms", "size_mb", "test_drop"} < set(names)
    query = 'SELECT trial, depth, ffn_sparsity, attention, "drop", latency_ms FROM results'
    found = {number: values for number, *values in sql(searched, query)}
    rows = view(searched).rows
    assert len(found) == len(rows)
    for row in rows:
        recipe = row.recipe
        assert found[row.trial][:3] == [recipe.depth, recipe.ffn_sparsity, recipe.attention]
        assert found[row.trial][3:] == [row.drop, pytest.approx(row.latency_ms) if row.latency_ms else None]


def test_view_follows_the_decisions(tmp_path: Path) -> None:
    open_storage(url(tmp_path))
    sqlite = sqlite3.connect(tmp_path / "study.db")
    sqlite.executescript("DROP VIEW results; CREATE VIEW results AS SELECT 1 AS old_decision;")
    sqlite.close()
    open_storage(url(tmp_path))
    assert "old_decision" not in [column[1] for column in sql(tmp_path, "PRAGMA table_info(results)")]


def test_migrations_make_the_tables_of_the_models(tmp_path: Path) -> None:
    open_storage(url(tmp_path))
    engine = create_engine(url(tmp_path))
    with engine.connect() as connection:
        options = {"include_object": lambda thing, name, kind, *_: kind != "table" or name.startswith("ac_")}
        context = MigrationContext.configure(connection, opts={**options, "version_table": "ac_alembic_version"})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()
    versions = sql(tmp_path, "SELECT version_num FROM alembic_version")
    assert versions == [("v3.2.0.a",)]  # Optuna's own


def test_sqlite_is_set_up_for_a_search_beside_readers(tmp_path: Path) -> None:
    engine = open_storage(url(tmp_path)).engine
    with engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
        assert values == ["wal", 1, 1]
        other = sqlite3.connect(tmp_path / "study.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):  # the first transaction holds the write lock
            other.execute("BEGIN IMMEDIATE")
        other.close()
    engine.dispose()


def test_deleting_a_study_takes_our_rows_with_it(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with study.lease():
        search(study, 2)
    optuna.delete_study(study_name="toy", storage=open_storage(url(tmp_path)))
    tables = ("ac_studies", "ac_teachers", "ac_candidates", "ac_artifacts", "ac_measurements")
    assert [sql(tmp_path, f"SELECT count(*) FROM {table}") for table in tables] == [[(0,)]] * 5


def test_rows_left_by_a_careless_deletion_do_not_attach_to_a_stranger(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with study.lease():
        search(study, 2)
    optuna.delete_study(study_name="toy", storage=optuna.storages.RDBStorage(url(tmp_path)))  # foreign keys are off
    assert sql(tmp_path, "SELECT count(*) FROM ac_candidates") != [(0,)]
    again = open_study(tmp_path, study="other")
    assert again.teacher() is None
    assert read_study(url(tmp_path), "other").rows == ()


def test_numpy_and_nan_do_not_reach_the_database(begun: Study, tmp_path: Path) -> None:
    import numpy as np

    asked = begun.ask()
    good = outcome_of(asked.recipe)
    assert good.measurement is not None
    conditions = {"seed": np.int64(3), "loss": float("nan"), "lengths": np.arange(3)}
    bad = replace(good.measurement, size_mb=float("inf"), conditions=conditions)
    begun.tell(asked.number, asked.recipe, replace(good, measurement=bad, facts={"heads": np.array([1, 2])}))
    row = view(tmp_path).row(asked.number)
    assert (row.state, row.size_mb, row.reason) == ("failed", None, "size_mb came out missing or not finite")
    stored = sql(tmp_path, "SELECT conditions FROM ac_measurements ORDER BY id DESC LIMIT 1")[0][0]
    assert json.loads(stored) == {"seed": 3, "loss": None, "lengths": [0, 1, 2]}


def test_no_absolute_path_is_stored(searched: Path) -> None:
    text = (searched / "study.db").read_bytes()
    assert str(searched).encode() not in text
    assert view(searched).artifacts == searched / "artifacts"
    assert sql(searched, "SELECT log FROM ac_candidates WHERE number = 1") == [("logs/trial-0001.log",)]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite://", "in memory"),
        ("nonsense", "SQLAlchemy URL"),
        ("nosuchdb://user:secret@host/x", "SQLAlchemy URL"),
        ("sqlite:////proc/nowhere/study.db", "cannot be written"),
    ],
)
def test_storages_that_cannot_be(storage: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Study.open(plan_in(tmp_path, storage=storage), space())
    assert "secret" not in str(caught.value)


# ---- asking and telling --------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_the_teacher(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with study.lease():
        with pytest.raises(ValueError, match="trial 0"):
            study.ask()
        with pytest.raises(ValueError, match="teacher must be complete"):
            study.record_teacher(Outcome(state="failed", reason="no such model"))


def test_twins_are_reused_and_do_not_count(begun: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begun.ask()
    assert begun.duplicate(first.recipe) is None
    begun.tell(first.number, first.recipe, outcome_of(first.recipe))
    before = begun.spent().trials
    duplicate = begun.duplicate(first.recipe)
    assert duplicate is not None
    assert (duplicate.measurement, duplicate.sha256) == (outcome_of(first.recipe).measurement, first.recipe.key)
    monkeypatch.setattr(Space, "suggest", lambda *_: first.recipe)  # what a sampler does sooner or later
    second = begun.ask()
    begun.tell(second.number, second.recipe, duplicate)
    row = view(tmp_path).row(second.number)
    assert (row.state, row.reason) == ("complete", f"the same candidate as trial {first.number}")
    assert begun.spent().trials == before
    assert {one.trial for one in view(tmp_path).front} <= {first.number}


def test_a_twin_must_have_been_trained_as_far(begun: Study, tmp_path: Path) -> None:
    first = begun.ask(lambda recipe: 0)
    assert first.rung == 0
    begun.tell(first.number, first.recipe, outcome_of(first.recipe, 0))
    assert view(tmp_path).row(first.number).rung == 0
    assert begun.duplicate(first.recipe, 0) is not None
    assert begun.duplicate(first.recipe, 1) is None
    assert begun.enqueue([first.recipe]) == 0  # known, but …
    assert begun.enqueue([first.recipe], rung=2) == 1  # … not trained as far as that
    assert begun.enqueue([first.recipe], rung=1) == 0  # waits at a higher rung
    while (further := begun.ask(lambda recipe: 0)).recipe != first.recipe:  # the starters wait before it
        begun.tell(further.number, further.recipe, outcome_of(further.recipe, 0))
    assert further.rung == 2
    begun.tell(further.number, further.recipe, outcome_of(further.recipe))
    duplicate = begun.duplicate(first.recipe, 0)  # what was trained furthest answers for all
    assert duplicate is not None
    assert duplicate.sha256 == outcome_of(first.recipe).sha256


def test_an_interrupted_trial_is_tried_again_at_its_rung(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with study.lease():
        study.record_teacher(teacher_outcome())
        asked = study.ask(lambda recipe: 1)
    again = open_study(tmp_path)
    with again.lease():
        retry = again.ask(lambda recipe: 0)
        assert (retry.recipe, retry.rung, retry.retry) == (asked.recipe, 1, True)


def test_untrained_trials_say_what_became_of_them(begun: Study, tmp_path: Path) -> None:
    first = begun.ask(lambda recipe: 0)
    begun.tell(first.number, first.recipe, outcome_of(first.recipe, 0))
    begun.enqueue([first.recipe], rung=2)
    while (further := begun.ask(lambda recipe: 0)).rung != 2:
        begun.tell(further.number, further.recipe, outcome_of(further.recipe, 0))
    begun.tell(further.number, further.recipe, outcome_of(further.recipe))
    begun.finish()
    study = optuna.load_study(study_name="toy", storage=open_storage(url(tmp_path)))
    trial = optuna.trial.Trial(study, study.trials[first.number]._trial_id)
    assert f"trained further as trial {further.number}" in pytest.importorskip("optuna_dashboard").get_note(trial)
    reasons = {row.trial: row.reason for row in rows_with_reasons(view(tmp_path))}
    assert reasons[first.number] == f"trained further as trial {further.number}"
    assert reasons[further.number] is None


def test_a_stopped_twin_counts_only_under_the_same_constraints(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with study.lease():
        study.record_teacher(teacher_outcome())
        asked = study.ask()
        study.tell(asked.number, asked.recipe, Outcome(state="stopped", reason="too large"))
        duplicate = study.duplicate(asked.recipe)
        assert duplicate is not None
        assert (duplicate.state, duplicate.reason) == ("stopped", "too large")
    with open_study(tmp_path, constraints={"max_size_mb": 90}).lease():
        pass
    assert open_study(tmp_path, constraints={"max_size_mb": 90}).duplicate(asked.recipe) is None


def test_telling_again_changes_nothing(begun: Study, tmp_path: Path) -> None:
    asked = begun.ask()
    begun.tell(asked.number, asked.recipe, outcome_of(asked.recipe))
    before = view(tmp_path).rows
    begun.tell(asked.number, asked.recipe, Outcome(state="failed", reason="late"))
    assert view(tmp_path).rows == before


def test_stopped_and_failed_trials_count(begun: Study, tmp_path: Path) -> None:
    for outcome in (Outcome(state="stopped", reason="too slow"), Outcome(state="failed", reason="out of memory")):
        asked = begun.ask()
        begun.tell(asked.number, asked.recipe, outcome)
        row = view(tmp_path).row(asked.number)
        assert (row.state, row.reason, row.quality) == (outcome.state, outcome.reason, None)
    assert begun.spent().trials == 2


def test_enqueue_skips_what_is_known_or_waits(begun: Study) -> None:
    new = space().canonical({"depth": 2, "attention": "local", "attention_window": 32})
    assert begun.enqueue(space().initial_recipes()) == 0
    assert begun.enqueue([new, new, Recipe(depth=6)]) == 1  # the last is the teacher
    for _ in space().initial_recipes():
        begun.ask()
    assert begun.ask().recipe == new


def test_running_trials_are_seen_while_they_run(begun: Study, tmp_path: Path) -> None:
    asked = begun.ask()
    row = view(tmp_path).row(asked.number)
    assert (row.state, row.recipe, row.reason) == ("running", asked.recipe, None)
    assert begun.spent().trials == 0


def test_quality_on_another_split_replaces_the_one_before(begun: Study, tmp_path: Path) -> None:
    asked = begun.ask()
    with pytest.raises(ValueError, match="running"):
        begun.record_quality(asked.number, quality("test", 0.01))
    begun.tell(asked.number, asked.recipe, complete(0.01, 2.0, 20.0, "a" * 64, 0.05))
    for drop in (0.03, 0.02):
        begun.record_quality(asked.number, quality("test", drop))
    row = view(tmp_path).row(asked.number)
    assert (row.drop, row.test_drop, row.test_quality) == (0.01, 0.02, 0.88)
    assert row.test_drop_interval == pytest.approx((0.004, 0.036))


def test_samplers() -> None:
    assert type(samplers.make_sampler("tpe", 1)).__name__ == "TPESampler"
    assert type(samplers.make_sampler("gp", 1)).__name__ == "GPSampler"
    with pytest.raises(UsageError, match="unknown sampler 'cma'; available: tpe, gp"):
        samplers.make_sampler("cma", 1)


# ---- resuming ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 7}, "seed"),
        ({"device": {"threads": 2}}, "device.threads"),
        ({"objectives": ("quality", "latency_ms")}, "objectives"),
        ({"space": {"depth": [1, 2]}}, "space"),
        ({"recovery": {"epochs": 1}}, "recovery.epochs"),
    ],
)
def test_an_edited_plan_is_refused_naming_the_key(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    open_study(tmp_path)
    with pytest.raises(UsageError, match=f"study file: {key}"):
        open_study(tmp_path, **changes)
    open_study(tmp_path)


def test_edited_constraints_hold_for_old_trials_too(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with study.lease():
        search(study, 6)
    before = [row.trial for row in view(tmp_path).front]
    with open_study(tmp_path, constraints={"max_latency_ms": 1.0, "max_drop": 0.2}, budget={"trials": 50}).lease():
        pass
    seen = view(tmp_path)
    assert seen.constraints == {"max_latency_ms": 1.0, "max_drop": 0.2}
    assert all(row.latency_ms is not None and row.latency_ms <= 1 for row in seen.front)
    assert [row.trial for row in seen.front] != before
    for trial in optunas(tmp_path).trials:
        if trial.state.is_finished():
            assert trial.constraints == pytest.approx(violations(seen.row(trial.number), seen.constraints))


def test_another_programs_study_is_left_alone(tmp_path: Path) -> None:
    other = optuna.create_study(study_name="toy", storage=url(tmp_path))
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(UsageError, match="another program"):
        open_study(tmp_path)


def test_two_studies_share_a_database(tmp_path: Path) -> None:
    for name in ("one", "two"):
        study = open_study(tmp_path, study=name)
        with study.lease():
            search(study, 2)
    assert studies(url(tmp_path)) == ["one", "two"]
    assert [len(read_study(url(tmp_path), name).rows) for name in ("one", "two")] == [3, 3]


# ---- being killed --------------------------------------------------------------------------------------------------


def test_kill_in_mid_trial_then_resume(tmp_path: Path) -> None:
    with program(tmp_path, "sleep") as process:
        running = [line for line in wait_for(process, "asked", 4) if line.startswith("asked")][-1]
        os.killpg(process.pid, signal.SIGKILL)
        number = int(running.split()[1])
        before = view(tmp_path)
        assert before.row(number).state == "running"
        study = open_study(tmp_path)
        with study.lease():  # at once, although the dead process is not even reaped
            assert study.spent() == BudgetSpent(
                trials=4, seconds=0.0, retries_waiting=1
            )  # the interrupted trial counts
            asked = study.ask()
            study.tell(asked.number, asked.recipe, outcome_of(asked.recipe))
            assert study.spent() == BudgetSpent(trials=4, seconds=0.0, retries_waiting=0)  # its retry does not
            search(study, 6)
    after = view(tmp_path)
    lost = after.row(number)
    assert lost.state == "failed"
    assert lost.reason is not None
    assert lost.reason.startswith("interrupted; tried again as trial ")
    retry = after.row(int(lost.reason.split()[-1]))
    assert (retry.state, retry.recipe) == (outcome_of(retry.recipe).state, lost.recipe)
    assert [row for row in after.rows if row.trial < number] == [
        row for row in flagged_as(after, before) if row.trial < number
    ]
    assert [row.recipe for row in after.rows].count(lost.recipe) == 2


def flagged_as(after: StudyView, before: StudyView) -> list[Any]:
    """Rows of before, with what depends on the whole study (front, expectation) as it is after."""
    later = ("on_front", "expected_drop", "expected_drop_interval")
    return [replace(row, **{name: getattr(after.row(row.trial), name) for name in later}) for row in before.rows]


def test_kill_at_any_moment(tmp_path: Path) -> None:
    """Killed again and again wherever it happens to be, a search still gets on and loses nothing."""
    known: dict[int, Any] = {}
    for moment in (2, 5, 9):
        with program(tmp_path, "loop") as process:
            wait_for(process, "asked", moment)
            os.killpg(process.pid, signal.SIGKILL)
        seen = view(tmp_path)
        finished = {row.trial: (row.state, row.quality, row.reason) for row in seen.rows if row.state != "running"}
        assert known.items() <= finished.items()
        known = finished
    study = open_study(tmp_path)
    with study.lease():
        search(study, study.spent().trials)
        assert not [row for row in view(tmp_path).rows if row.state == "running"]
    states = {trial.number: trial.state.name for trial in optunas(tmp_path).trials}
    assert "RUNNING" not in states.values()
    assert {row.trial for row in view(tmp_path).rows} == {n for n, state in states.items() if state != "WAITING"}
    measured = [row.recipe for row in view(tmp_path).rows if row.state == "complete" and row.reason is None]
    assert len(measured) == len(set(measured))


def test_what_was_cut_short_between_our_rows_and_optunas_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(tmp_path)
    with study.lease():
        study.record_teacher(teacher_outcome())
        asked = study.ask()
        monkeypatch.setattr(Study, "_finish_optunas", lambda *_: None)
        study.tell(asked.number, asked.recipe, outcome_of(asked.recipe))
        monkeypatch.setattr(Study, "_adopt", lambda *_, **__: None)  # and the end of the lease does not mend it
    monkeypatch.undo()
    assert optunas(tmp_path).trials[asked.number].state == TrialState.RUNNING
    with open_study(tmp_path).lease():
        pass
    trial = optunas(tmp_path).trials[asked.number]
    row = view(tmp_path).row(asked.number)
    assert trial.state == TrialState.COMPLETE
    assert trial.values == [row.quality, row.latency_ms, row.size_mb]
    assert len(trial.constraints) == 2


def test_what_was_cut_short_while_asking_is_given_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(tmp_path)
    with study.lease():
        study.record_teacher(teacher_outcome())
        with monkeypatch.context() as patch:
            patch.setattr(type(study.space), "suggest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                study.ask()
    with (again := open_study(tmp_path)).lease():
        asked = again.ask()
        assert (asked.number, asked.recipe, asked.retry) == (1, space().initial_recipes()[0], False)
    assert [row.trial for row in view(tmp_path).rows] == [0, 1]


def test_a_teacher_cut_short_is_still_trial_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(tmp_path)
    with study.lease(), monkeypatch.context() as patch:
        patch.setattr(Study, "tell", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            study.record_teacher(teacher_outcome())
    with (again := open_study(tmp_path)).lease():
        assert again.teacher() is None
        again.record_teacher(teacher_outcome())
        assert again.ask().number == 1
    assert optunas(tmp_path).trials[0].state == TrialState.COMPLETE


def test_starters_cut_short_are_queued_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(tmp_path)
    with study.lease(), monkeypatch.context() as patch:
        patch.setattr(Study, "enqueue", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            study.record_teacher(teacher_outcome())
    with (again := open_study(tmp_path)).lease():
        assert again.ask().recipe == space().initial_recipes()[0]


def test_an_interruption_of_the_mending_adds_no_second_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(tmp_path)
    lease = study.lease()
    lease.__enter__()
    study.record_teacher(teacher_outcome())
    asked = study.ask()
    with monkeypatch.context() as patch:
        patch.setattr(candidate_rows, "interrupt", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lease.__exit__(None, None, None)
    with (again := open_study(tmp_path)).lease():
        assert again.spent().retries_waiting == 1
        assert again.ask().recipe == asked.recipe


def test_ending_in_good_order_leaves_a_retry_and_costs_none(tmp_path: Path) -> None:
    numbers = []
    for _ in range(4):
        study = open_study(tmp_path)
        with study.lease():
            if study.teacher() is None:
                study.record_teacher(teacher_outcome())
            asked = study.ask()
            numbers.append(asked.number)
            assert asked.retry == (len(numbers) > 1)
            assert asked.recipe == space().initial_recipes()[0]
    row = view(tmp_path).row(numbers[-2])
    assert row.reason == f"interrupted; tried again as trial {numbers[-1]}"
    assert study.spent().trials == 1


def test_a_trial_that_keeps_killing_its_search_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt = Study._adopt
    monkeypatch.setattr(Study, "_adopt", lambda self, died: adopt(self, died) if died else None)  # as if it died
    number = 0
    for attempt in range(4):
        study = open_study(tmp_path)
        with study.lease():
            if study.teacher() is None:
                study.record_teacher(teacher_outcome())
            asked = study.ask()
        assert (asked.recipe == space().initial_recipes()[0]) == (attempt < 3)
        number = asked.number if attempt < 3 else number
    assert view(tmp_path).row(number).reason == "interrupted; not tried again, for its searches keep dying"


# ---- the lease -----------------------------------------------------------------------------------------------------


def test_one_supervisor_at_a_time(tmp_path: Path) -> None:
    with program(tmp_path, "sleep") as process:
        wait_for(process, "leased", 1)
        study = open_study(tmp_path)
        with (
            pytest.raises(AutocompressError, match=rf"toy has been searched by .*{process.pid}.* since 20"),
            study.lease(),
        ):
            pass
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with study.lease():
            assert view(tmp_path).running
    assert not view(tmp_path).running


def test_a_supervisor_that_lost_its_lease_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleepy, other = open_study(tmp_path), open_study(tmp_path)
    with sleepy.lease():
        sleepy.record_teacher(teacher_outcome())
        asked = sleepy.ask()
        monkeypatch.setattr(lease_module, "is_alive", lambda *_: False)  # its beat has been missing for long
        with other.lease():
            with pytest.raises(AutocompressError, match="taken it over"):
                sleepy.tell(asked.number, asked.recipe, outcome_of(asked.recipe))
            assert other.ask().retry
    assert view(tmp_path).row(asked.number).state == "failed"


def test_a_lease_from_elsewhere_ends_with_its_beat() -> None:
    other_devices = {"boot": "another machine", "pid": 1, "started": 0.0}
    assert lease_module.is_alive(other_devices, beat=100.0, now=119.0)
    assert not lease_module.is_alive(other_devices, beat=100.0, now=121.0)
    here = lease_module.this_process()
    assert lease_module.is_alive(here, beat=100.0, now=101.0)
    assert not lease_module.is_alive({**here, "started": 0.0}, beat=100.0, now=101.0)  # its number was given away again


# ---- reading -------------------------------------------------------------------------------------------------------


def test_reading_names_what_there_is(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no study 'tay'.*available: toy"):
        read_study(url(searched), "tay")
    with pytest.raises(UsageError, match="no database"):
        read_study(url(tmp_path), "toy")
    assert list(tmp_path.iterdir()) == []  # reading creates nothing
    with pytest.raises(UsageError, match="no trial 999"):
        view(searched).row(999)
    sqlite3.connect(tmp_path / "study.db").executescript("CREATE TABLE t (x)")
    with pytest.raises(UsageError, match="no study in"):
        studies(url(tmp_path))
    (tmp_path / "study.db").write_text("not a database, but long enough to look at its header twice")
    with pytest.raises(UsageError, match="cannot be read"):
        studies(url(tmp_path))


def test_reading_waits_for_nobody(searched: Path, tmp_path: Path) -> None:
    copy(searched, tmp_path)
    writer = sqlite3.connect(tmp_path / "study.db")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE ac_studies SET seconds = 99")
    found: list[StudyView] = []
    thread = threading.Thread(target=lambda: found.append(view(tmp_path)), daemon=True)
    thread.start()
    thread.join(10)
    assert [seen.seconds for seen in found] == [12.5]
    writer.close()
    reader = connect_read_only(tmp_path / "study.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("UPDATE ac_studies SET seconds = 0")
    reader.close()


def test_reading_where_nothing_can_be_written(searched: Path) -> None:
    """As on a read-only medium; root may write anywhere, so it reads as somebody else."""
    rows = len(view(searched).rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(searched, folder)
        (folder / "study.db").chmod(0o444)
        folder.chmod(0o555)
        child = os.fork()
        if child == 0:  # never comes back to pytest
            found = -1
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                found = len(view(folder).rows)
            finally:
                os._exit(0 if found == rows else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert [path.name for path in folder.iterdir()] == ["study.db"]
        folder.chmod(0o755)


def test_reading_loads_neither_optuna_nor_torch(searched: Path) -> None:
    code = (
        "import sys\nfrom autocompress.selection import hypervolume, pick\nfrom autocompress.study import read_study\n"
        f"view = read_study({url(searched)!r}, 'toy')\n"
        "pick(view.rows, view.constraints, examples=view.examples); hypervolume(view.front, view.reference)\n"
        "print([name for name in ('optuna', 'torch', 'transformers', 'alembic', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TESTS.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_an_orphaned_running_trial_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Study, "_adopt", lambda *_, **__: None)
    study = open_study(tmp_path)
    with study.lease():
        study.record_teacher(teacher_outcome())
        asked = study.ask()
    assert view(tmp_path).row(asked.number).reason == "interrupted; the next search tries it again"


# ---- other databases -----------------------------------------------------------------------------------------------


def test_postgresql(tmp_path: Path) -> None:
    address = os.environ.get("AUTOCOMPRESS_TEST_POSTGRESQL")
    if not address:
        pytest.skip("AUTOCOMPRESS_TEST_POSTGRESQL names no database (postgresql+psycopg://user@host/empty_database)")
    study = open_study(tmp_path, storage=address)
    with study.lease():
        search(study, 5)
        study.finish()
    seen = read_study(address, "toy")
    assert len(seen.rows) >= 6
    assert seen.artifacts is None
    with open_study(tmp_path, storage=address, constraints={"max_drop": 0.01}).lease():
        pass
    with create_engine(address).connect() as connection:
        found = connection.exec_driver_sql(
            'SELECT depth, ffn_sparsity, attention, "drop" FROM results WHERE trial = 1'
        ).one()
    first = seen.row(1)
    assert tuple(found) == (first.recipe.depth, first.recipe.ffn_sparsity, first.recipe.attention, first.drop)
    optuna.delete_study(study_name="toy", storage=address)
    assert studies(address) == []


# ---- helpers -------------------------------------------------------------------------------------------------------


def copy(source: Path, folder: Path) -> None:
    """The database alone, without the log that open connections keep beside it."""
    old, new = sqlite3.connect(source / "study.db"), sqlite3.connect(folder / "study.db")
    old.backup(new)
    old.close()
    new.close()


class program:  # noqa: N801  # reads as a verb at its use
    """A search in a process group of its own; it is gone at the end."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._command = [sys.executable, str(TESTS / "formula.py"), str(folder), kind]

    def __enter__(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
        )
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def wait_for(process: subprocess.Popen[str], word: str, times: int) -> list[str]:
    """Its lines up to the one that says `word` for the n-th time."""
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.strip())
        if sum(one.startswith(word) for one in lines) == times:
            return lines
    raise AssertionError(f"the search ended after {lines}")
