"""The study log tells why each trial was tried and how it ended; a trial that is abandoned leaves the display."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from autocompress.core.recipe import Recipe
from autocompress.interfaces.rendering.progress import PlainDisplay, SilentDisplay
from autocompress.search import supervisor, worker_pool
from autocompress.search.executors import Message
from autocompress.search.jobs import Job, JobResult
from autocompress.search.study_log import study_log_path, writing_study_log
from autocompress.search.worker_pool import WorkerPool
from tests.formula import FormulaExecutor, open_study, plan_in, space


def test_study_log_says_why_each_trial_was_tried_and_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "LocalExecutor", FormulaExecutor)
    plan, study = plan_in(tmp_path, budget={"trials": 30}), open_study(tmp_path, budget={"trials": 30})
    with (
        writing_study_log(plan),
        study.lease(),
        worker_pool.open_worker_pool(plan, SilentDisplay(), offline=True) as pool,
    ):
        supervisor.Supervisor(plan, study, space(), pool).run()
    assert study_log_path(plan) == tmp_path / "toy.log"
    lines = study_log_path(plan).read_text(encoding="utf-8").splitlines()
    for words in (
        "taken from the queue",
        "proposed by the sampler",
        "promoted from trial",
        "the same candidate as",
        "complete in",
    ):
        assert any(words in line for line in lines), words
    assert len([line for line in lines if "trial 1: " in line]) >= 2  # why it was tried, and how it ended


def test_study_log_ends_with_the_search(tmp_path: Path) -> None:
    plan, logger = plan_in(tmp_path), logging.getLogger("autocompress")
    before = (logger.level, list(logger.handlers))
    with writing_study_log(plan):
        logging.getLogger("autocompress.search").info("within")
    logging.getLogger("autocompress.search").warning("after")
    assert (logger.level, list(logger.handlers)) == before
    assert [line.rpartition(": ")[2] for line in study_log_path(plan).read_text().splitlines()] == ["within"]


def test_study_log_lies_beside_the_artifacts_where_the_database_is_no_file(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, storage="postgresql+psycopg://user@host/studies")
    assert study_log_path(plan) == tmp_path / "toy.log"


def test_an_abandoned_trial_leaves_the_display(tmp_path: Path) -> None:
    lines: list[str] = []
    display = PlainDisplay(lines.append)
    pool = WorkerPool(FormulaExecutor(plan_in(tmp_path, workers=2)), display)
    for number in (1, 2):
        pool.start(Job("trial", number, Recipe(depth=1)), "1 layer")
        display.stage(number - 1, number, "1 layer", "deploying", 0.5)
    pool.abandon_jobs()
    assert not display.activities and not pool.running and pool.free == 2


def test_an_interrupted_preparation_leaves_the_display(tmp_path: Path) -> None:
    class NeverAnswering(FormulaExecutor):
        def poll(self, seconds: float) -> Mapping[int, Message]:
            return {}

    display = PlainDisplay(lambda line: None)
    pool = WorkerPool(NeverAnswering(plan_in(tmp_path)), display)
    display.stage(0, 0, "the teacher", "fine-tuning the teacher", 0.1)
    pool.interrupt.is_set = True
    assert pool.run_alone(Job("teacher", 0), "the teacher") is None
    assert not display.activities


def test_a_failed_trial_is_a_warning_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_pool, "LocalExecutor", FormulaExecutor)
    changes = {"budget": {"trials": 1}}
    plan, study = plan_in(tmp_path, **changes), open_study(tmp_path, **changes)
    with (
        caplog.at_level(logging.INFO, logger="autocompress"),
        study.lease(),
        worker_pool.open_worker_pool(plan, SilentDisplay(), offline=True) as pool,
    ):
        running = supervisor.Supervisor(plan, study, space(), pool)
        running.run()
        asked = study.ask(promoted=(Recipe(depth=2), 0))
        running.known.add(asked.row)
        running._finish(Job("trial", asked.number, asked.recipe, 0), JobResult(error="the worker was killed"), 1.0)
    failed = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert any("failed in 1.0 s: the worker was killed" in record.getMessage() for record in failed)
