"""Searches whose worker processes a formula stands in for: what budgets do, and what a device misses while it is lost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.search import supervisor, worker_pool
from autocompress.search.jobs import Job, JobResult
from autocompress.search.plan_check import CheckedPlan
from autocompress.search.supervisor import SearchEnd, run_search
from autocompress.study import StudyView, read_study
from tests.formula import FormulaExecutor, outcome_of, plan_in, space


class MessageDisplay(SilentDisplay):
    """Remembers the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


@dataclass
class FormulaSearch:
    """Runs the study of a folder on the formula, and remembers the jobs that its workers get."""

    folder: Path
    jobs: list[str] = field(default_factory=list)  # kinds, of the last run
    messages: list[str] = field(default_factory=list)  # shown in the last run
    is_pi_reachable: bool = True  # where the study has a second device, `pi`

    def run(self, **changes: Any) -> SearchEnd:
        """Begin the study or go on with it."""
        self.jobs.clear()
        display = MessageDisplay()
        self.messages = display.messages
        return run_search(plan_in(self.folder, **changes), display=display, offline=True)

    def view(self, device: str | None = None) -> StudyView:
        """The study as it is stored."""
        plan = plan_in(self.folder)
        return read_study(plan.storage, plan.study, device)


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FormulaSearch:
    formula = FormulaSearch(tmp_path)

    class RecordingExecutor(FormulaExecutor):
        def run(self, job: Job) -> JobResult:
            formula.jobs.append(job.kind)
            result = super().run(job)
            if not formula.is_pi_reachable:
                return result
            if job.kind == "other_devices" and job.recipe is not None:
                measured = {name: outcome_of(job.recipe, job.rung).measurement for name in job.devices}
                return replace(result, measured={name: seen for name, seen in measured.items() if seen is not None})
            if result.outcome is not None and result.outcome.measurement is not None:
                return replace(
                    result, outcome=replace(result.outcome, other_devices={"pi": result.outcome.measurement})
                )
            return result

    monkeypatch.setattr(worker_pool, "LocalExecutor", RecordingExecutor)
    monkeypatch.setattr(
        supervisor, "prepare", lambda plan, offline: CheckedPlan(plan=plan, space=space(), fingerprint="of the data")
    )
    return formula


def test_with_a_time_budget_training_is_fitted_to_it_once(search: FormulaSearch) -> None:
    search.run(budget={"trials": 1, "time": "40s"}, recovery={"copies": 1})
    assert search.jobs[:4] == ["teacher", "calibration", "shared", "trial"]
    fitted = search.view().recovery
    assert fitted is not None
    assert fitted["copies"] == 1  # as given
    assert fitted["epochs"] != plan_in(search.folder).recovery.epochs
    search.run(budget={"trials": 2, "time": "80s"}, recovery={"copies": 1})
    assert search.view().recovery == fitted
    assert search.jobs[:2] == ["shared", "trial"]


def test_time_alone_never_ends_a_study_without_a_trial(search: FormulaSearch) -> None:
    search.run(budget={"time": 1e-3})  # over before the teacher is measured
    assert search.jobs[:4] == ["teacher", "calibration", "shared", "trial"]
    assert [row.state for row in search.view().rows[1:]] == ["complete"]
    search.run(budget={"time": 1e-3})
    assert search.jobs == []
    assert len(search.view().rows) == 2


def test_a_met_budget_ends_at_once_and_a_raised_one_goes_on(search: FormulaSearch) -> None:
    assert search.run(budget={"trials": 5}).trials == 5
    before = search.view().rows
    assert search.run(budget={"trials": 5}).trials == 5
    assert search.jobs == []
    assert search.view().rows == before
    assert search.run(budget={"trials": 6}).trials == 6
    assert "teacher" not in search.jobs
    assert [row.sha256 for row in search.view().rows[: len(before)]] == [row.sha256 for row in before]


def test_a_search_catches_up_what_a_lost_device_has_not_seen(search: FormulaSearch) -> None:
    devices: dict[str, Any] = {"devices": {"laptop": {}, "pi": {"url": "http://pi:7311"}}, "device": {}}
    search.run(budget={"trials": 2}, **devices)
    before = len(search.view().rows)
    search.is_pi_reachable = False
    search.run(budget={"trials": 4}, **devices)
    assert "device pi is unreachable; continue the search later to measure its missing trials" in search.messages
    complete = [row.trial for row in search.view().rows if row.state == "complete"]
    unseen = [row.trial for row in search.view("pi").rows if row.trial in complete and row.quality is None]
    assert unseen and min(unseen) >= before
    search.is_pi_reachable = True
    search.run(budget={"trials": 4}, **devices)
    assert set(search.jobs) <= {"other_devices", "test"}
    assert search.messages == []
    assert all(row.latency_ms and row.quality is not None for row in search.view("pi").rows if row.trial in complete)
