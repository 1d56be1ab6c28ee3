"""Before the first trial: measure the teacher, fit the amounts of training, compute the shared stages."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from autocompress.config import LAST_RUNG, AutoFineTune, Recovery, StudyPlan
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.core.recipe import Recipe
from autocompress.core.teacher_warning import TeacherWarning, describe_warnings
from autocompress.search.budget import BudgetMeter
from autocompress.search.earlier_candidate import read_earlier_candidate
from autocompress.search.jobs import Job, JobResult, RunSettings
from autocompress.search.worker_pool import WorkerPool
from autocompress.space.space import Space
from autocompress.study import Study
from autocompress.training.time_fitting import TrainingRates, fit_further_training, fit_training_time

INTERRUPTED = "interrupted"
MOST_CRASHES = 10  # while settings of fine-tuning are searched
log = logging.getLogger(__name__)


@dataclass
class Preparation:
    """Prepares one study. Results of an earlier run are read, not computed again."""

    plan: StudyPlan
    study: Study
    space: Space
    meter: BudgetMeter
    pool: WorkerPool

    def prepare_study(self) -> str | None:
        """Prepare the study; return a reason to end the search, or null."""
        reason = self._measure_teacher() or self._fit_amounts() or self._compute_shared()
        if reason is None:
            self._enqueue_earlier_candidate()
        return reason

    def _enqueue_earlier_candidate(self) -> None:
        """Enqueue the candidate that the study starts from, if any: as it was, and trained. A second call changes nothing."""
        if self.plan.start is not None:
            recipe = read_earlier_candidate(self.plan.start, self.plan.place("start")).recipe
            for rung in (0, LAST_RUNG):
                self.study.enqueue([recipe], rung=rung)

    def _measure_teacher(self) -> str | None:
        """Complete trial 0 before any other trial begins."""
        if self.study.teacher() is None:
            result = self._run_teacher()
            if result is None:
                return INTERRUPTED
            if result.outcome is None or result.outcome.state != "complete":
                raise _error_of(result, "the teacher could not be measured")
            self.study.record_teacher(result.outcome)
            self.pool.display.finished(0, Recipe(), result.outcome, "teacher, fp32")
            record = FineTuningRecord.from_facts(result.outcome.facts)
            if record is not None:
                self.pool.display.message(record.describe())
            for sentence in describe_warnings(TeacherWarning.from_facts(result.outcome.facts)):
                self.pool.display.message(f"warning: {sentence}")
            log.info("trial 0: measured the teacher in %.0f s", result.outcome.seconds)
        study = self.study
        self.pool.settings = RunSettings(study.artifacts_of(0), study.fitted_recovery(), study.times_beside_teacher())
        return None

    def _run_teacher(self) -> JobResult | None:
        """Fine-tune and measure the teacher; null when interrupted.

        A search for the settings of fine-tuning goes on after a crash: a setting that ends its process again and again has
        failed.
        """
        searches = isinstance(self.plan.teacher.fine_tune, AutoFineTune)
        for _ in range(MOST_CRASHES):
            result = self.pool.run_alone(Job("teacher", 0), "the teacher")
            if result is None or not (result.is_crash and searches):
                return result
            log.warning("the teacher: %s; the search for settings goes on", result.error)
        return result

    def _fit_amounts(self) -> str | None:
        """Fit the amounts of training that the study file does not set to the time budget."""
        plan, time_budget = self.plan, self.plan.budget.time
        if time_budget is None or self.study.fitted_recovery() is not None or self.meter.reason_to_end(0) is not None:
            return None
        if not self.space.needs_training:
            return None
        if self.meter.spent.trials:  # begun before amounts were fitted: its trials were trained as the file says
            return None
        result = self.pool.run_alone(Job("calibration", 0), "calibration")
        if result is None:
            return INTERRUPTED
        if result.rates is None:
            raise AutocompressError(f"the cost of training could not be measured: {result.error}")
        seconds_left = max(0.0, time_budget - self.meter.seconds)
        if plan.start is None:
            recovery = fit_training_time(plan.recovery, plan.given_recovery, seconds_left, plan.workers, result.rates)
        else:
            recovery = fit_further_training(plan.recovery, plan.given_recovery, seconds_left, result.rates)
        self.study.record_recovery(recovery)
        self.pool.settings = replace(self.pool.settings, recovery=recovery)
        amounts = f"fitted to the time left: {_describe_amounts(plan, recovery, result.rates)}"
        log.info("%s (%s)", amounts, result.rates)
        self.pool.display.message(amounts)
        return None

    def _compute_shared(self) -> str | None:
        """Compute the stages that all trials share, on all cores."""
        if self.meter.reason_to_end(0) is not None:
            return None
        result = self.pool.run_alone(Job("shared", 0), "shared stages")
        if result is not None and result.error is not None:
            raise _error_of(result, result.error)
        return INTERRUPTED if result is None else None


def _describe_amounts(plan: StudyPlan, recovery: Recovery, rates: TrainingRates) -> str:
    rows = _describe_rows(recovery, rates)
    if plan.start is not None:
        return f"the earlier candidate is trained for {recovery.epochs:.1f} epochs, {rows}"
    is_trained = recovery.supernet_epochs == rates.trained.get("supernet_epochs")
    return (
        f"super-net {recovery.supernet_epochs:.1f} epochs{' (trained already)' if is_trained else ''},"
        f" short training {recovery.short_epochs:.2f}, full training {recovery.epochs:.1f}, {rows}"
    )


def _describe_rows(recovery: Recovery, rates: TrainingRates) -> str:
    """Return how many rows candidates learn from, in words."""
    every = rates.count_rows(recovery.copies)
    used = "" if recovery.distilled_rows is None else f", {min(recovery.distilled_rows, every):,} of {every:,} rows"
    kind = "written texts for" if recovery.copy_kind == "written" else "copies of"
    return f"{recovery.copies} {kind} each row{used}"


def _error_of(result: JobResult, default: str) -> AutocompressError:
    return (UsageError if result.is_usage_error else AutocompressError)(result.error or default)
