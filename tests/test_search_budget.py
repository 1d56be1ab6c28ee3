"""What a budget does to a search. A formula stands in for the worker processes, so that a search takes a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.search import supervisor, worker_pool
from autocompress.search.jobs import Job
from autocompress.search.supervisor import SearchEnd, run_search
from autocompress.study import StudyView, read_study
from tests.formula import FormulaWorker, plan_in, space


@dataclass
class FormulaSearch:
    """Runs the study of a folder on the formula, and remembers the jobs that its workers get."""

    folder: Path
    jobs: list[str] = field(default_factory=list)  # kinds, of the last run

    def run(self, **changes: Any) -> SearchEnd:
        """Begin the study or go on with it."""
        self.jobs.clear()
        return run_search(plan_in(self.folder, **changes), display=SilentDisplay(), offline=True)

    @property
    def view(self) -> StudyView:
        """The study as it is stored."""
        plan = plan_in(self.folder)
        return read_study(plan.storage, plan.study)


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FormulaSearch:
    formula = FormulaSearch(tmp_path)

    class RecordingWorker(FormulaWorker):
        def start(self, job: Job) -> None:
            formula.jobs.append(job.kind)
            super().start(job)

    monkeypatch.setattr(worker_pool, "Worker", RecordingWorker)
    monkeypatch.setattr(supervisor, "prepare", lambda plan, offline: (space(), "fingerprint of the data", None))
    return formula


def test_with_a_time_budget_training_is_fitted_to_it_once(search: FormulaSearch) -> None:
    search.run(budget={"trials": 1, "time": "40s"}, recovery={"copies": 1})
    assert search.jobs[:4] == ["teacher", "calibration", "shared", "trial"]
    fitted = search.view.recovery
    assert fitted is not None
    assert fitted["copies"] == 1  # as given
    assert fitted["epochs"] != plan_in(search.folder).recovery.epochs
    search.run(budget={"trials": 2, "time": "80s"}, recovery={"copies": 1})
    assert search.view.recovery == fitted
    assert search.jobs[:2] == ["shared", "trial"]


def test_time_alone_never_ends_a_study_without_a_trial(search: FormulaSearch) -> None:
    search.run(budget={"time": 1e-3})  # over before the teacher is measured
    assert search.jobs[:4] == ["teacher", "calibration", "shared", "trial"]
    assert [row.state for row in search.view.rows[1:]] == ["complete"]
    search.run(budget={"time": 1e-3})
    assert search.jobs == []
    assert len(search.view.rows) == 2


def test_a_met_budget_ends_at_once_and_a_raised_one_goes_on(search: FormulaSearch) -> None:
    assert search.run(budget={"trials": 5}).trials == 5
    before = search.view.rows
    assert search.run(budget={"trials": 5}).trials == 5
    assert search.jobs == []
    assert search.view.rows == before
    assert search.run(budget={"trials": 6}).trials == 6
    assert "teacher" not in search.jobs
    assert [row.sha256 for row in search.view.rows[: len(before)]] == [row.sha256 for row in before]
