"""Run a study: ask for recipes, send them to workers and record the results, until the budget is met or on Ctrl-C."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from autocompress.benchmarking.backends import SHORT_PATIENCE
from autocompress.config import LAST_RUNG, StudyPlan
from autocompress.core.errors import AutocompressError
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome, describe
from autocompress.search.admission import admission_limits
from autocompress.search.budget import BudgetMeter
from autocompress.search.display import Display
from autocompress.search.final_evaluation import FinalEvaluation
from autocompress.search.final_evaluation_time import FinalRows, FinalSeconds, predict_final_seconds
from autocompress.search.jobs import Job, JobResult
from autocompress.search.known_trials import KnownTrials
from autocompress.search.plan_check import check_same_sources, prepare
from autocompress.search.preparation import INTERRUPTED, Preparation
from autocompress.search.scheduler import PromotionRequest, RunningTrial, Scheduler
from autocompress.search.shared_weights import next_exports
from autocompress.search.study_log import writing_study_log
from autocompress.search.worker_pool import FinishedJob, WorkerPool, catching_signals, open_worker_pool
from autocompress.selection.early_stopping import LEAST_GROWTH, HypervolumeHistory
from autocompress.selection.latency_model import LatencyTable
from autocompress.space.space import Space
from autocompress.storage.artifact_store import ArtifactStore, Store
from autocompress.study import AskedTrial, Study, read_study
from autocompress.study.study_view import stored_plan
from autocompress.study.trial_details import read_trial_details

SHRINK_SECONDS = 60.0  # between two checks of the artifacts' disk space
DRAWS = 200  # recipes drawn, after a proposal that was known, to find one that is not
QUALITY_STAGE = "quality on validation"
TRAINED_SHARE = 0.25  # of a trial's time: with more than that in training, its weights were new
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchEnd:
    """The end of a search: its reason and totals."""

    reason: str
    interrupted: bool
    trials: int
    seconds: float
    outlook: tuple[str, ...] = ()  # the forecast for more time, and the accuracy of predicted latencies


def run_search(plan: StudyPlan, *, display: Display, offline: bool = False) -> SearchEnd:
    """Run or continue a study to the end of its budget. The plan is checked before any work starts."""
    checked = prepare(plan.as_stored(stored_plan(plan.storage, plan.study)), offline)
    plan = checked.plan
    study = Study.open(plan, checked.space)
    if checked.lost is not None and study.teacher() is None:
        raise checked.lost  # later, an unreachable device can catch up
    check_same_sources(plan, study, checked.fingerprint)
    with writing_study_log(plan), study.lease(), open_worker_pool(plan, display, offline) as pool:
        for sentence in filter(None, (checked.limits, checked.choice)):
            display.message(sentence)
        end = Supervisor(plan, study, checked.space, pool, checked.rows).run()
        log.info("the search ended: %s (%d trials, %.0f s of the study)", end.reason, end.trials, end.seconds)
        return end


@dataclass
class Supervisor:
    """One run of a study: gives trials to workers and records what they send back."""

    plan: StudyPlan
    study: Study
    space: Space
    pool: WorkerPool
    rows: FinalRows = field(default_factory=FinalRows)
    random: Random = field(init=False)
    meter: BudgetMeter = field(init=False)
    scheduler: Scheduler = field(init=False)
    known: KnownTrials = field(init=False)  # from the teacher on
    pending: list[AskedTrial] = field(default_factory=list)  # duplicates of trials that run
    history: HypervolumeHistory = field(default_factory=HypervolumeHistory)
    last_shrink: float = field(default_factory=time.monotonic)
    teacher_seconds: float = 0.0  # of computing the teacher's outputs on validation
    final: FinalSeconds = field(default_factory=FinalSeconds)  # as predicted
    lost_since: float | None = None  # when the main device last answered, while it is unreachable

    def __post_init__(self) -> None:
        self.random = Random(self.plan.seed)
        self.meter = BudgetMeter(self.plan.search_budget, self.study)
        self.scheduler = Scheduler(self.plan, self.space, self.meter)
        self.pool.tick = self._tick

    def run(self) -> SearchEnd:
        """Prepare the study, run trials and evaluate finalists; every exit leaves a valid front."""
        with catching_signals(self.pool.interrupt):
            reason = Preparation(self.plan, self.study, self.space, self.meter, self.pool).prepare_study()
            outlook: tuple[str, ...] = ()
            if self.study.teacher() is not None:
                view = read_study(self.plan.storage, self.plan.study)
                self.known = KnownTrials.of(view, self.plan.engine.reuse)
                stages = read_trial_details(self.plan.storage, self.plan.study, 0).outcome.stages
                self.teacher_seconds = stages.get(QUALITY_STAGE, 0.0)
                self._reserve_time()
                reason = reason or self._run_trials()
                self.pool.abandon_jobs()
                final = FinalEvaluation(
                    self.plan, self.study, self.pool, self.rows.agreement, self._has_time_to_compare
                )
                final.evaluate_finalists()
                self._tick(save=True)
                outlook = tuple(self._outlook())
        spent = self.meter.spent
        return SearchEnd(reason or INTERRUPTED, self.pool.interrupt.is_set, spent.trials, spent.seconds, outlook)

    def _run_trials(self) -> str:
        """Start and watch trials until the budget is met; return the reason why that ended."""
        while not self.pool.interrupt.is_set:
            end = None
            for _ in range(self.pool.free):
                end = self._reason_to_end() or self._start_trial()
            if end is not None and not self.pool.running:
                return end
            for finished in self.pool.poll():
                self._handle(finished)
            self._tick()
        return INTERRUPTED

    def _outlook(self) -> Iterator[str]:
        forecast = self.history.forecast()
        if forecast is not None:
            yield forecast
        model = LatencyTable.fit(list(self.known.rows.values()))
        if model is not None:
            yield f"latency of unmeasured candidates was predicted within {model.describe()}"

    # ---- starting trials ---------------------------------------------------------------------------------------

    def _start_trial(self) -> str | None:
        """Start a trial, or record a duplicate; return a reason to end where no trial is left to run."""
        promotion, take_retries = None, self.lost_since is None  # while the device is unreachable, others go first
        if not (take_retries and self.study.has_waiting(interrupted=True)):
            choice = self.scheduler.choose(self.known, self._running_trials())
            if isinstance(choice, str):
                if not self.study.has_waiting():
                    return choice
                take_retries = True
            promotion = choice if isinstance(choice, PromotionRequest) else None
        was_queued = self.study.has_waiting()
        promoted = None if promotion is None else (promotion.recipe, promotion.rung)
        asked = self.study.ask(self.scheduler.first_rung, self.scheduler.pinned, promoted, take_retries)
        log.info("trial %d: %s: %s", asked.number, _origin(asked, promotion, was_queued), asked.row.describe())
        self.known.add(asked.row)
        self.meter.invalidate()
        if self._is_duplicate(asked):
            self.study.enqueue((self.space.draw(self.random) for _ in range(DRAWS)), most=1)  # something new next
            self.scheduler.duplicates += 1
            return None
        self.scheduler.duplicates = 0
        job = Job("trial", asked.number, asked.recipe, asked.rung, admission_limits(self.plan, self.known))
        self.pool.start(job, _label(job))
        return None

    def _is_duplicate(self, asked: AskedTrial) -> bool:
        """Record a trial whose result is known; let a duplicate of a running trial wait for its end."""
        known = self.study.find_duplicate(asked.recipe, asked.rung)
        if known is not None:
            log.info("trial %d: %s", asked.number, known.reason)
            self._record(asked.number, asked.recipe, known)
            return True
        if any(trial.recipe == asked.recipe and trial.rung >= asked.rung for trial in self._running_trials()):
            log.info("trial %d: waits for a running trial of the same recipe", asked.number)
            self.pending.append(asked)
            return True
        return False

    def _running_trials(self) -> list[RunningTrial]:
        running = [(job.job, job.seconds) for job in self.pool.running.values()]
        return [RunningTrial(job.recipe, job.rung, seconds) for job, seconds in running if job.recipe is not None]

    # ---- recording results -------------------------------------------------------------------------------------

    def _handle(self, finished: FinishedJob) -> None:
        """Record a job's result, or requeue its trial."""
        handle = self._requeue if finished.result.is_device_lost else self._finish
        handle(finished.job, finished.result, finished.seconds)

    def _finish(self, job: Job, result: JobResult, seconds: float) -> None:
        """Record the outcome of a trial, and then handle its waiting duplicates."""
        outcome = result.outcome or Outcome(state="failed", reason=result.error, seconds=seconds)
        self.lost_since = None if outcome.measurement is not None else self.lost_since
        assert job.recipe is not None  # trials have one
        level = logging.WARNING if outcome.state == "failed" else logging.INFO
        log.log(level, "trial %d: %s in %.1f s%s", job.trial, outcome.state, seconds, _because(outcome.reason))
        self._record(job.trial, job.recipe, outcome)
        self.meter.invalidate()
        self.pool.display.finished(job.trial, job.recipe, outcome, _label(job))
        if outcome.state == "complete":
            self._follow_up(job, job.recipe, outcome)
        pending, self.pending = self.pending, []
        for asked in pending:
            if not self._is_duplicate(asked):
                reason = f"the same candidate as trial {job.trial}, which {outcome.state}"
                self._record(asked.number, asked.recipe, Outcome(state="failed", reason=reason))

    def _requeue(self, job: Job, result: JobResult, seconds: float) -> None:
        """Requeue a trial whose device was lost; AutocompressError after `device.patience` without an answer."""
        patience = self.plan.device.patience
        self.lost_since = self.lost_since or time.monotonic() - min(seconds, SHORT_PATIENCE * patience)
        if time.monotonic() - self.lost_since >= patience:
            raise AutocompressError(f"{result.error}; run the same command again to continue the search")
        duplicates = [asked for asked in self.pending if asked.recipe == job.recipe]
        self.pending = [asked for asked in self.pending if asked not in duplicates]
        for number in (job.trial, *(asked.number for asked in duplicates)):
            self.known.add(self.study.requeue(number))
        self.meter.invalidate()
        log.warning("trial %d: requeued: %s", job.trial, result.error)
        self.pool.display.message(f"trial {job.trial} is requeued: {result.error}")

    def _follow_up(self, job: Job, recipe: Recipe, outcome: Outcome) -> None:
        """Show the front; enqueue recipes that share the weights of a fully trained trial on it, and need no training."""
        front = self.known.front
        self.pool.display.front(front, self.known.teacher)
        was_trained = outcome.stages.get("recovery", 0) > TRAINED_SHARE * outcome.seconds
        if job.rung == 0 or was_trained:
            self.meter.add_duration(job.rung, self.known.rows[job.trial].latency_ms or 1.0, outcome.seconds)
        if self.plan.engine.reuse and job.rung == LAST_RUNG and any(row.trial == job.trial for row in front):
            is_whole = recipe.shares_weights(self.space.teacher)  # large and slow: such recipes wait their turn
            still_grows = self.history.last_growth() >= LEAST_GROWTH  # else further ones bring nothing
            if was_trained or is_whole or still_grows:
                proposed = self.study.enqueue(next_exports(self.space, recipe), rung=None if is_whole else job.rung)
                log.info("trial %d: is on the front; enqueued %d other recipes with its weights", job.trial, proposed)
        if time.monotonic() - self.last_shrink > SHRINK_SECONDS:
            self._shrink_store()
            self.last_shrink = time.monotonic()

    def _record(self, number: int, recipe: Recipe, outcome: Outcome) -> None:
        facts = {**outcome.facts, "ended_at": round(self.meter.seconds, 1)}  # seconds of the study
        self.known.add(self.study.tell(number, recipe, replace(outcome, facts=facts)))
        self._reserve_time()
        self.history.add(self.meter.seconds, self.known.hypervolume)

    def _reserve_time(self) -> None:
        """Reserve the time in which the finalists will be compared and tested."""
        known = self.known
        self.final = predict_final_seconds(known.front, known.teacher, self.teacher_seconds, self.rows)
        self.meter.reserved = self.final.tests + self.final.comparisons

    def _has_time_to_compare(self) -> bool:
        """Whether time is left besides that of the tests."""
        budget = self.plan.search_budget.time
        return budget is None or self.meter.seconds + self.final.tests < budget

    def _shrink_store(self) -> None:
        """Keep the artifacts' folder within its limit; the models of the teacher and of every front always stay."""
        artifacts, kept = self.plan.artifacts, {0, *(row.trial for row in self.known.front)}
        for device in self.plan.others:
            kept |= {row.trial for row in read_study(self.plan.storage, self.plan.study, device).front}
        hashes = [sha256 for trial in kept for sha256 in self.study.artifacts_of(trial).values()]
        store: ArtifactStore = Store(artifacts.path)
        store.shrink(artifacts.max_gb * 1e9, hashes)

    # ---- budget ------------------------------------------------------------------------------------------------

    def _reason_to_end(self) -> str | None:
        """Return why no further trial may start, or null."""
        is_met = self.meter.reason_to_end(len(self.pool.running))
        if is_met is not None or not self.plan.engine.stop_early or self.plan.search_budget.time is None:
            return is_met
        stalled = self.history.stalled(self.known.largest_promised_gain)
        self.scheduler.has_stalled = stalled is not None
        return None if self.scheduler.best_prospect(self.known, self._running_trials()) else stalled

    def _tick(self, save: bool = False) -> None:
        """Update the display, and store the used time."""
        self.meter.save(force=save)
        budget = self.plan.budget
        self.pool.display.progress(self.meter.spent.trials, budget.trials, self.meter.seconds, budget.time)


def _origin(asked: AskedTrial, promotion: PromotionRequest | None, was_queued: bool) -> str:
    """Return why a trial is run."""
    if asked.retry:
        return "retried after an interruption"
    if promotion is not None and (asked.recipe, asked.rung) == (promotion.recipe, promotion.rung):
        return f"promoted from trial {promotion.trial} to rung {promotion.rung} ({promotion.reason})"
    return "taken from the queue" if was_queued else "proposed by the sampler"


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _label(job: Job) -> str:
    return describe(job.recipe, job.rung) if job.recipe else "the teacher"
