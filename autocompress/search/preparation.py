"""What comes before the first trial: the teacher, how long to train, what all trials share."""

from __future__ import annotations

from dataclasses import dataclass

from autocompress.config import StudyPlan
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.recipe import AFTER_RECOVERY, Recipe
from autocompress.search.budget import BudgetMeter
from autocompress.search.jobs import Job, JobResult, RunSettings
from autocompress.search.worker_pool import WorkerPool
from autocompress.space.space import Space
from autocompress.study import Study
from autocompress.training.time_fitting import fit_training_time


@dataclass
class Preparation:
    """Whatever of it an earlier run has done is found, not done again."""

    plan: StudyPlan
    study: Study
    space: Space
    meter: BudgetMeter
    pool: WorkerPool

    def lay(self) -> str | None:
        """All of it; a reason to end the search where that was not to be, or null."""
        return self._teacher() or self._effort() or self._shared()

    def _teacher(self) -> str | None:
        """Trial 0, complete before anything is asked."""
        if self.study.teacher() is None:
            done = self.pool.alone(Job("teacher", 0), "the teacher")
            if done is None:
                return "interrupted"
            if done.outcome is None or done.outcome.state != "complete":
                raise _error(done, "the teacher could not be measured")
            self.study.record_teacher(done.outcome)
            self.pool.display.finished(0, Recipe(), done.outcome, "teacher, fp32")
        self.pool.settle(RunSettings(self.study.artifacts_of(0), self.study.fitted_recovery()))
        return None

    def _effort(self) -> str | None:
        """Choose how long to train, where the study file leaves that to the time budget."""
        plan, time_budget = self.plan, self.plan.budget.time
        if time_budget is None or self.study.fitted_recovery() is not None or self.meter.ending(0) is not None:
            return None
        if all(name in AFTER_RECOVERY for name in self.space.free):
            return None  # nothing is trained
        if self.meter.spent.trials:  # begun before amounts were fitted: its trials were trained as the file says
            return None
        done = self.pool.alone(Job("calibration", 0), "calibration")
        if done is None:
            return "interrupted"
        if done.rates is None:
            raise AutocompressError(f"what training costs could not be measured: {done.error}")
        left = max(0.0, time_budget - self.meter.seconds)
        recovery = fit_training_time(plan.recovery, plan.given_recovery, left, plan.workers, done.rates)
        self.study.record_recovery(recovery)
        self.pool.settle(RunSettings(self.pool.workers[0].settings.references, recovery))
        there = recovery.supernet_epochs == done.rates.trained.get("supernet_epochs")
        self.pool.display.message(
            f"fitted to the time left: super-net {recovery.supernet_epochs:.1f} epochs"
            f"{' (trained already)' if there else ''}, short training {recovery.short_epochs:.2f},"
            f" full training {recovery.epochs:.1f}, {recovery.copies} copies of each row"
        )
        return None

    def _shared(self) -> str | None:
        """What all trials share, on all cores."""
        if self.meter.ending(0) is not None:
            return None
        done = self.pool.alone(Job("shared", 0), "what all trials share")
        if done is not None and done.error is not None:
            raise _error(done, done.error)
        return "interrupted" if done is None else None


def _error(done: JobResult, words: str) -> AutocompressError:
    return (UsageError if done.usage else AutocompressError)(done.error or words)
