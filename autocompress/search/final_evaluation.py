"""After the last trial: measure missing trials on secondary devices, then the finalists on the test split."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from autocompress.config import LAST_RUNG, StudyPlan
from autocompress.core.formatting import counted
from autocompress.core.measurement import Measurement
from autocompress.core.trial_row import TrialRow
from autocompress.search.display import Display
from autocompress.search.jobs import Job, JobResult, RunSettings
from autocompress.search.worker_pool import WorkerPool, open_worker_pool
from autocompress.selection import as_expected, next_comparisons, on_front
from autocompress.storage.artifact_store import Store
from autocompress.study import Study, StudyView, read_study

log = logging.getLogger(__name__)


@dataclass
class FinalEvaluation:
    """Evaluates the finalists of one study. It can be interrupted at any moment: the next run measures what is missing."""

    plan: StudyPlan
    study: Study
    pool: WorkerPool
    agreement_rows: int = 0
    has_time: Callable[[], bool] = lambda: True  # whether time is left for comparisons with the teacher

    def evaluate_finalists(self) -> None:
        """Measure what is missing, and update the dashboard's notes."""
        self._measure_on_other_devices()
        self._compare_with_teacher()
        test_trials(self.study, self.pool, self._untested_finalists())
        self.study.finish()

    def _measure_on_other_devices(self) -> None:
        """Measure complete trials on devices that were unreachable before; skip those that still are."""
        unreachable: set[str] = set()
        measured: dict[str | None, dict[str, Measurement]] = {}  # by artifact: duplicates are not measured twice
        for row, missing in self._incomplete_rows():
            names = tuple(name for name in missing if name not in unreachable)
            if not names:
                continue
            if row.sha256 not in measured:
                result = self._run_other_devices(row, names)
                if result is None:
                    return
                if result.error is not None:
                    self._warn(f"trial {row.trial} could not be measured on {', '.join(names)}: {result.error}")
                    continue
                measured[row.sha256] = result.measured
                unreachable |= set(names) - set(result.measured)
            self.study.record_other_devices(row.trial, measured[row.sha256])
        for name in sorted(unreachable):
            self._warn(f"device {name} is unreachable; continue the search later to measure its missing trials")

    def _compare_with_teacher(self) -> None:
        """Compare the models that may be worth choosing with the teacher on agreement rows, the undecided ones on more."""
        store, failed, freed = Store(self.plan.artifacts.path), set[str](), 0
        while batch := self._next_comparisons(failed):
            for row, parts in batch:
                if self.pool.interrupt.is_set or not self.has_time():
                    return
                sha256 = str(row.sha256)
                if not store.has_artifact(sha256):
                    failed.add(sha256)
                    freed += 1
                elif not self._compare(row, parts):
                    failed.add(sha256)
        if freed:
            limit = f"{self.plan.place('artifacts.max_gb')}: {self.plan.artifacts.max_gb:g} GB"
            self._warn(f"not compared with the teacher: {counted(freed, 'model')}, whose files were freed ({limit})")

    def _compare(self, row: TrialRow, parts: int) -> bool:
        """Compare a model with the teacher; return false where that failed or was interrupted."""
        job = Job("agreement", row.trial, row.recipe, artifacts=self.study.artifacts_of(row.trial), parts=parts)
        result = self.pool.run_alone(job, row.recipe.describe())
        if result is None:
            return False
        if result.agreement is None:
            self._warn(f"trial {row.trial} could not be compared with the teacher: {result.error}")
            return False
        self.study.record_agreement(row.trial, result.agreement)
        return True

    def _next_comparisons(self, failed: Collection[str]) -> list[tuple[TrialRow, int]]:
        view = read_study(self.plan.storage, self.plan.study)
        max_drop = self.plan.constraints.max_drop
        return next_comparisons(view.rows, view.examples, self.agreement_rows, max_drop, failed)

    def _run_other_devices(self, row: TrialRow, names: tuple[str, ...]) -> JobResult | None:
        rung = LAST_RUNG if row.rung is None else row.rung
        job = Job("other_devices", row.trial, row.recipe, rung, devices=names)
        return self.pool.run_alone(job, row.recipe.describe())

    def _incomplete_rows(self) -> list[tuple[TrialRow, list[str]]]:
        """Return complete trials, each with the names of the devices that have not measured it."""
        main, *others = self._views()
        incomplete = []
        for row in main.rows:
            missing = [str(view.device) for view in others if view.row(row.trial).quality is None]
            if row.quality is not None and missing:
                incomplete.append((row, missing))
        return incomplete

    def _untested_finalists(self) -> list[TrialRow]:
        """Return the teacher, the front of every device, and what `pick` may name, as far as a test is missing."""
        views = self._views()
        rows = views[0].rows
        expected = [row if row.expected_drop is None else as_expected(row, row.expected_drop) for row in rows]
        fronts = {row.trial for view in views for row in view.front}
        finalists = {0} | on_front(expected, self.plan.objectives) | fronts
        untested = {
            row.trial for view in views for row in view.rows if row.quality is not None and row.test_quality is None
        }
        return [row for row in rows if row.trial in finalists & untested]

    def _views(self) -> list[StudyView]:
        """Return the study as each of its devices sees it; the main device first."""
        names = (None, *self.plan.others)
        return [read_study(self.plan.storage, self.plan.study, name) for name in names]

    def _warn(self, text: str) -> None:
        log.warning(text)
        self.pool.display.message(text)


def measure_tests(plan: StudyPlan, trials: Sequence[int], *, display: Display, offline: bool = False) -> None:
    """Measure some finished trials, and the teacher, on the test split, outside of a search."""
    study = Study.open(plan, None)
    with open_worker_pool(plan, display, offline) as pool:
        rows = read_study(plan.storage, plan.study).rows
        pool.settings = RunSettings(study.artifacts_of(0), study.fitted_recovery())
        test_trials(study, pool, [row for row in rows if row.trial in {0, *trials} and row.test_quality is None])


def test_trials(study: Study, pool: WorkerPool, rows: Sequence[TrialRow]) -> None:
    """Measure finished trials on the test split, even after an interruption."""
    for row in rows:
        job = Job("test", row.trial, row.recipe, artifacts=study.artifacts_of(row.trial))
        result = pool.run_alone(job, row.recipe.describe(), interruptible=False)
        if result is not None and result.quality is not None:
            study.record_quality(row.trial, result.quality, result.other_devices)
        elif result is not None:
            text = f"trial {row.trial} could not be measured on the test split: {result.error}"
            log.warning(text)
            pool.display.message(text)
