"""Searches that are killed or interrupted at any instant: no result is lost, and running trials are tried again."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from autocompress.core.trial_row import TrialRow
from autocompress.study import BudgetSpent, Study, StudyView, candidate_rows, orphaned_trials, writer
from autocompress.study.recording import TrialRecorder
from autocompress.study.study_connection import StudyConnection
from autocompress.study.waiting_trials import WaitingTrials
from tests.formula import outcome_of, search, space, teacher_outcome
from tests.toy_study import ToyStudy, wait_for


def test_search_resumes_after_a_kill_during_a_trial(toy: ToyStudy) -> None:
    with toy.process("sleep") as process:
        running = [line for line in wait_for(process, "asked", 4) if line.startswith("asked")][-1]
        os.killpg(process.pid, signal.SIGKILL)
        number = int(running.split()[1])
        before = toy.view()
        assert before.row(number).state == "running"
        study = toy.open()
        with study.lease():  # at once, although the dead process is a zombie
            # the interrupted trial counts, its retry does not
            assert study.budget_spent() == BudgetSpent(trials=4, seconds=0.0, retries_waiting=1)
            asked = study.ask()
            study.tell(asked.number, asked.recipe, outcome_of(asked.recipe))
            assert study.budget_spent() == BudgetSpent(trials=4, seconds=0.0, retries_waiting=0)
            search(study, 6)
    after = toy.view()
    lost = after.row(number)
    assert lost.state == "failed"
    assert lost.reason is not None
    assert lost.reason.startswith("interrupted; tried again as trial ")
    retry = after.row(int(lost.reason.split()[-1]))
    assert (retry.state, retry.recipe) == (outcome_of(retry.recipe).state, lost.recipe)
    assert [row for row in after.rows if row.trial < number] == [
        row for row in marked_as_in(after, before) if row.trial < number
    ]
    assert [row.recipe for row in after.rows].count(lost.recipe) == 2


def test_search_resumes_after_kills_at_any_moment(toy: ToyStudy) -> None:
    known: dict[int, tuple[str, float | None, str | None]] = {}
    for moment in (2, 5, 9):
        with toy.process("loop") as process:
            wait_for(process, "asked", moment)
            os.killpg(process.pid, signal.SIGKILL)
        rows = toy.view().rows
        finished = {row.trial: (row.state, row.quality, row.reason) for row in rows if row.state != "running"}
        assert known.items() <= finished.items()
        known = finished
    study = toy.open()
    with study.lease():
        search(study, study.budget_spent().trials)
        assert not [row for row in toy.view().rows if row.state == "running"]
    states = {trial.number: trial.state.name for trial in toy.optuna_study().trials}
    assert "RUNNING" not in states.values()
    assert {row.trial for row in toy.view().rows} == {n for n, state in states.items() if state != "WAITING"}
    measured = [row.recipe for row in toy.view().rows if row.state == "complete" and row.reason is None]
    assert len(measured) == len(set(measured))


def marked_as_in(after: StudyView, before: StudyView) -> list[TrialRow]:
    """Return the rows of `before`, with the fields that depend on the whole study as in `after`."""
    whole_study = ("on_front", "expected_drop", "expected_drop_interval")
    return [replace(row, **{name: getattr(after.row(row.trial), name) for name in whole_study}) for row in before.rows]


def test_interrupted_trial_is_tried_again_at_its_rung(toy: ToyStudy) -> None:
    study = toy.open()
    with study.lease():
        study.record_teacher(teacher_outcome())
        asked = study.ask(lambda recipe: 1)
    again = toy.open()
    with again.lease():
        retry = again.ask(lambda recipe: 0)
        assert (retry.recipe, retry.rung, retry.retry) == (asked.recipe, 1, True)


def test_trial_finished_in_our_tables_alone_is_finished_in_optuna(
    toy: ToyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = toy.open()
    with study.lease():
        study.record_teacher(teacher_outcome())
        asked = study.ask()
        monkeypatch.setattr(TrialRecorder, "finish_optuna_trial", lambda *_: None)
        study.tell(asked.number, asked.recipe, outcome_of(asked.recipe))
        monkeypatch.setattr(writer, "settle_orphaned_trials", lambda *_, **__: None)  # as if it was killed
    monkeypatch.undo()
    assert toy.optuna_study().trials[asked.number].state == TrialState.RUNNING
    with toy.open().lease():
        pass
    trial = toy.optuna_study().trials[asked.number]
    row = toy.view().row(asked.number)
    assert trial.state == TrialState.COMPLETE
    assert trial.values == [row.quality, row.latency_ms, row.size_mb]
    assert len(trial.constraints) == 2


def test_trial_interrupted_while_asking_is_asked_again(toy: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = toy.open()
    with study.lease():
        study.record_teacher(teacher_outcome())
        with monkeypatch.context() as patch:
            patch.setattr(type(study.space), "suggest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                study.ask()
    with (again := toy.open()).lease():
        asked = again.ask()
        assert (asked.number, asked.recipe, asked.retry) == (1, space().initial_recipes()[0], False)
    assert [row.trial for row in toy.view().rows] == [0, 1]


def test_interrupted_teacher_stays_trial_0(toy: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = toy.open()
    with study.lease(), monkeypatch.context() as patch:
        patch.setattr(Study, "tell", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            study.record_teacher(teacher_outcome())
    with (again := toy.open()).lease():
        assert again.teacher() is None
        again.record_teacher(teacher_outcome())
        assert again.ask().number == 1
    assert toy.optuna_study().trials[0].state == TrialState.COMPLETE


def test_initial_recipes_are_enqueued_after_an_interruption(toy: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = toy.open()
    with study.lease(), monkeypatch.context() as patch:
        patch.setattr(Study, "enqueue", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            study.record_teacher(teacher_outcome())
    with (again := toy.open()).lease():
        assert again.ask().recipe == space().initial_recipes()[0]


def test_interruption_while_settling_adds_no_second_retry(toy: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = toy.open()
    lease = study.lease()
    lease.__enter__()
    study.record_teacher(teacher_outcome())
    asked = study.ask()
    with monkeypatch.context() as patch:
        patch.setattr(candidate_rows, "mark_interrupted", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lease.__exit__(None, None, None)
    with (again := toy.open()).lease():
        assert again.budget_spent().retries_waiting == 1
        assert again.ask().recipe == asked.recipe


def test_regular_end_requeues_running_trials_without_counting_a_crash(toy: ToyStudy) -> None:
    numbers = []
    for _ in range(4):
        study = toy.open()
        with study.lease():
            if study.teacher() is None:
                study.record_teacher(teacher_outcome())
            asked = study.ask()
            numbers.append(asked.number)
            assert asked.retry == (len(numbers) > 1)
            assert asked.recipe == space().initial_recipes()[0]
    row = toy.view().row(numbers[-2])
    assert row.reason == f"interrupted; tried again as trial {numbers[-1]}"
    assert study.budget_spent().trials == 1


def test_trial_is_given_up_after_three_crashes(toy: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def settle_at_begin(
        connection: StudyConnection, waiting: WaitingTrials, recorder: TrialRecorder, crashed: bool
    ) -> None:
        if crashed:
            orphaned_trials.settle_orphaned_trials(connection, waiting, recorder, crashed)

    monkeypatch.setattr(writer, "settle_orphaned_trials", settle_at_begin)  # not at the end, as if it was killed
    number = 0
    for attempt in range(4):
        study = toy.open()
        with study.lease():
            if study.teacher() is None:
                study.record_teacher(teacher_outcome())
            asked = study.ask()
        assert (asked.recipe == space().initial_recipes()[0]) == (attempt < 3)
        number = asked.number if attempt < 3 else number
    assert toy.view().row(number).reason == "interrupted; not tried again after 3 crashes"


def test_view_gives_orphaned_trials_a_reason(toy: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "settle_orphaned_trials", lambda *_, **__: None)
    study = toy.open()
    with study.lease():
        study.record_teacher(teacher_outcome())
        asked = study.ask()
    assert toy.view().row(asked.number).reason == "interrupted; the next search tries it again"
