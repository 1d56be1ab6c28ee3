"""What comes after the last trial: what devices have not seen yet, and finalists on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autocompress.config import LAST_RUNG, StudyPlan
from autocompress.core.measurement import Measurement, TrialRow
from autocompress.search.display import Display
from autocompress.search.jobs import Job, RunSettings
from autocompress.search.worker_pool import WorkerPool, open_worker_pool
from autocompress.selection import as_expected, on_front
from autocompress.study import Study, read_study


@dataclass
class FinalEvaluation:
    """All of it can be cut short at any moment: what is missing is done when the study goes on."""

    plan: StudyPlan
    study: Study
    pool: WorkerPool

    def play(self) -> None:
        """Measure what is missing, and bring the dashboard's notes up to date."""
        self._catch_up()
        test_rows(self.study, self.pool, self._finalists())
        self.study.finish()

    def _catch_up(self) -> None:
        """Measure what further devices have not seen, since they were out of reach; what they still are is left without."""
        away: set[str] = set()
        seen: dict[str | None, dict[str, Measurement]] = {}  # by artifact: twins are not measured twice
        for row, behind in self._unseen():
            names = tuple(name for name in behind if name not in away)
            if not names:
                continue
            if row.sha256 in seen:
                self.study.record_other_devices(row.trial, seen[row.sha256])
                continue
            rung = LAST_RUNG if row.rung is None else row.rung
            done = self.pool.alone(
                Job("other_devices", row.trial, row.recipe, rung, devices=names), row.recipe.describe()
            )
            if done is None:
                return
            if done.error is not None:
                self.pool.display.message(
                    f"trial {row.trial} could not be measured on {', '.join(names)}: {done.error}"
                )
                continue
            seen[row.sha256] = done.measured
            self.study.record_other_devices(row.trial, done.measured)
            away |= set(names) - set(done.measured)
        for name in sorted(away):
            self.pool.display.message(
                f"{name} is out of reach; what it has not seen is measured when the same command goes on"
            )

    def _unseen(self) -> list[tuple[TrialRow, list[str]]]:
        """Complete trials, each with the further devices that have not seen it."""
        first = read_study(self.plan.storage, self.plan.study)
        views = {name: read_study(self.plan.storage, self.plan.study, name) for name in self.plan.others}
        found = []
        for row in first.rows:
            behind = [name for name, view in views.items() if view.row(row.trial).quality is None]
            if row.quality is not None and behind:
                found.append((row, behind))
        return found

    def _finalists(self) -> list[TrialRow]:
        """The teacher, what is on the front of any device, and what `pick` may name, as far as not tested there yet."""
        views = [read_study(self.plan.storage, self.plan.study, name) for name in (None, *self.plan.others)]
        rows = views[0].rows
        expected = [row if row.expected_drop is None else as_expected(row, row.expected_drop) for row in rows]
        final = {0} | on_front(expected, self.plan.objectives) | {row.trial for view in views for row in view.front}
        untested = {
            row.trial for view in views for row in view.rows if row.quality is not None and row.test_quality is None
        }
        return [row for row in rows if row.trial in final & untested]


def measure_tests(plan: StudyPlan, trials: Sequence[int], *, display: Display, offline: bool = False) -> None:
    """Measure some finished trials, and the teacher, on the test split, outside of a search."""
    study = Study.open(plan, None)
    with open_worker_pool(plan, display, offline) as pool:
        rows = read_study(plan.storage, plan.study).rows
        pool.settle(RunSettings(study.artifacts_of(0), study.fitted_recovery()))
        test_rows(study, pool, [row for row in rows if row.trial in {0, *trials} and row.test_quality is None])


def test_rows(study: Study, pool: WorkerPool, rows: Sequence[TrialRow]) -> None:
    """Measure finished trials on the test split."""
    for row in rows:
        job = Job("test", row.trial, row.recipe, artifacts=study.artifacts_of(row.trial))
        done = pool.alone(job, row.recipe.describe(), stoppable=False)
        if done is not None and done.quality is not None:
            study.record_quality(row.trial, done.quality, done.other_devices)
        elif done is not None:
            pool.display.message(f"trial {row.trial} could not be measured on the test split: {done.error}")
