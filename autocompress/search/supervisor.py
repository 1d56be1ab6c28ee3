"""Run a study: ask for recipes, let workers try them, tell what came out, until a budget is met or someone says stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from random import Random

from autocompress.benchmarking.backends import SHORT_PATIENCE, open_backend
from autocompress.config import LAST_RUNG, StudyPlan, check_storage
from autocompress.core import registry
from autocompress.core.errors import AutocompressError, DeviceLost, UsageError
from autocompress.core.measurement import Outcome, describe
from autocompress.core.recipe import AFTER_RECOVERY, Recipe
from autocompress.models.model_config import read_config
from autocompress.search.budget import BudgetMeter
from autocompress.search.display import Display
from autocompress.search.executors.local import Worker
from autocompress.search.final_evaluation import FinalEvaluation
from autocompress.search.jobs import AdmissionLimits, Job, JobResult, Progress
from autocompress.search.preparation import Preparation
from autocompress.search.scheduler import KnownTrials, PromotionRequest, RunningTrial, Scheduler
from autocompress.search.worker_pool import POLL_SECONDS, WorkerPool, catching_signals, open_worker_pool
from autocompress.selection import expected_drop
from autocompress.selection.early_stopping import LEAST_GROWTH, HypervolumeHistory
from autocompress.selection.latency_model import LatencyTable
from autocompress.space.space import Space, resolve_space
from autocompress.storage.artifact_store import Store
from autocompress.study import AskedTrial, Study, read_study
from autocompress.study.queries import stored_plan
from autocompress.study.trial_details import read_trial_details

TIDY_SECONDS = 60.0  # between two looks at how much room the artifacts take
DRAWS = 200  # recipes drawn, after a proposal that was known, to find one that is not


@dataclass(frozen=True)
class SearchEnd:
    """How a search ended."""

    reason: str
    interrupted: bool
    trials: int
    seconds: float
    outlook: tuple[str, ...] = ()  # what more time would probably buy, and how well latencies were predicted


@dataclass
class Search:
    """One run of a study's supervisor: asks, watches, tells."""

    plan: StudyPlan
    study: Study
    space: Space
    pool: WorkerPool
    chance: Random = field(init=False)
    meter: BudgetMeter = field(init=False)
    schedule: Scheduler = field(init=False)
    known: KnownTrials = field(init=False)  # from the teacher on
    pending: list[AskedTrial] = field(default_factory=list)  # twins of trials that run
    returns: HypervolumeHistory = field(default_factory=HypervolumeHistory)
    tidied: float = field(default_factory=time.monotonic)
    lost_since: float | None = None  # when the first device was last heard of, where it is out of reach

    def __post_init__(self) -> None:
        self.chance = Random(self.plan.seed)
        self.meter = BudgetMeter(self.plan.budget, self.study)
        self.schedule = Scheduler(self.plan, self.space, self.meter)
        self.pool.tick = self._tick

    def run(self) -> SearchEnd:
        """Teacher, trials, finalists; every exit leaves a valid front behind."""
        with catching_signals(self.pool.interrupt):
            reason = Preparation(self.plan, self.study, self.space, self.meter, self.pool).lay()
            outlook: tuple[str, ...] = ()
            if self.study.teacher() is not None:
                view = read_study(self.plan.storage, self.plan.study)
                self.known = KnownTrials.of(view, self.plan.engine.reuse)
                reason = reason or self._trials()
                self.pool.abandon_jobs()
                FinalEvaluation(self.plan, self.study, self.pool).play()
                self._tick(save=True)
                outlook = tuple(self._outlook())
        spent = self.meter.spent
        return SearchEnd(reason or "interrupted", self.pool.interrupt.asked, spent.trials, spent.seconds, outlook)

    # ---- the parts ---------------------------------------------------------------------------------------------

    def _trials(self) -> str:
        """Ask, start, watch and tell until the budget is met; the reason why it ended."""
        while not self.pool.interrupt.asked:
            ending = None
            for worker in self.pool.idle:
                ending = self._ending() or self._start(worker)
            busy = self.pool.busy
            if ending is not None and not busy:
                return ending
            if busy:
                wait([worker.pipe for worker in busy if worker.pipe is not None], POLL_SECONDS)
            for worker in busy:
                self._watch(worker)
            self._tick()
        return "interrupted"

    def _outlook(self) -> Iterator[str]:
        forecast = self.returns.forecast()
        if forecast is not None:
            yield forecast
        table = LatencyTable.learned(list(self.known.rows.values()))
        if table is not None:
            yield table.describe()

    # ---- pieces ------------------------------------------------------------------------------------------------

    def _start(self, worker: Worker) -> str | None:
        """Give a worker a trial, or tell one that is known already; a reason to end where nothing is worth a trial."""
        further, retries = None, self.lost_since is None  # while the device is lost, others go before
        if not (retries and self.study.waits(interrupted=True)):
            choice = self.schedule.next(self.known, self._running())
            if isinstance(choice, str):
                if not self.study.waits():
                    return choice
                retries = True
            further = (choice.recipe, choice.rung) if isinstance(choice, PromotionRequest) else None
        asked = self.study.ask(self.schedule.first_rung, self.schedule.pinned, further, retries)
        self.known.add(asked.row)
        self.meter.changed()
        if self._is_duplicate(asked):
            self.study.enqueue((self.space.draw(self.chance) for _ in range(DRAWS)), most=1)  # something new next
            self.schedule.duplicates += 1
            return None
        self.schedule.duplicates = 0
        worker.start(Job("trial", asked.number, asked.recipe, asked.rung, self._bar()))
        return None

    def _is_duplicate(self, asked: AskedTrial) -> bool:
        """Tell a trial whose result is known already; one that is just being tried is told when that ends."""
        duplicate = self.study.duplicate(asked.recipe, asked.rung)
        if duplicate is not None:
            self._tell(asked.number, asked.recipe, duplicate)
            return True
        if any(trial.recipe == asked.recipe and trial.rung >= asked.rung for trial in self._running()):
            self.pending.append(asked)
            return True
        return False

    def _running(self) -> list[RunningTrial]:
        now = time.monotonic()
        busy = [(worker.job, now - worker.started) for worker in self.pool.workers if worker.job]
        return [RunningTrial(job.recipe, job.rung, seconds) for job, seconds in busy if job.recipe is not None]

    def _watch(self, worker: Worker) -> None:
        """Take a worker's next word, if it has one."""
        job = worker.job
        said = worker.poll(0)
        if job is None or said is None:
            return
        if isinstance(said, Progress):
            self.pool.display.stage(
                self.pool.workers.index(worker), job.trial, self._words(job), said.stage, said.fraction
            )
            return
        seconds = time.monotonic() - worker.started
        if said.lost:
            self._put_back(job, said, seconds)
            return
        outcome = said.outcome or Outcome(state="failed", reason=said.error, seconds=seconds)
        self.lost_since = None if outcome.measurement is not None else self.lost_since
        assert job.recipe is not None  # trials have one
        self._tell(job.trial, job.recipe, outcome)
        self.meter.changed()
        self.pool.display.finished(job.trial, job.recipe, outcome, self._words(job))
        if outcome.state == "complete":
            self._after(job, outcome)
        pending, self.pending = self.pending, []
        for asked in pending:
            if not self._is_duplicate(asked):
                reason = f"the same candidate as trial {job.trial}, which {outcome.state}"
                self._tell(asked.number, asked.recipe, Outcome(state="failed", reason=reason))

    def _put_back(self, job: Job, said: JobResult, seconds: float) -> None:
        """A trial whose device was lost waits again, while others go on, until the device has given no answer for as long
        as one is patient."""
        patience = self.plan.device.patience
        self.lost_since = self.lost_since or time.monotonic() - min(seconds, SHORT_PATIENCE * patience)
        if time.monotonic() - self.lost_since >= patience:
            raise AutocompressError(f"{said.error}; the same command goes on from here")
        duplicates = [asked for asked in self.pending if asked.recipe == job.recipe]
        self.pending = [asked for asked in self.pending if asked not in duplicates]
        for number in (job.trial, *(asked.number for asked in duplicates)):
            self.known.add(self.study.put_back(number))
        self.meter.changed()
        self.pool.display.message(f"trial {job.trial} waits again: {said.error}")

    def _after(self, job: Job, outcome: Outcome) -> None:
        """Show the front; where a fully trained trial is on it, propose its weights in other bits, which need no training."""
        front = self.known.front
        self.pool.display.front(front, self.known.teacher)
        trained = outcome.stages.get("recovery", 0) > outcome.seconds / 4
        if job.rung == 0 or trained:
            seen = self.known.rows[job.trial].latency_ms or 1.0
            self.meter.durations.setdefault(job.rung, []).append((seen, outcome.seconds))
        if self.plan.engine.reuse and job.rung == LAST_RUNG and any(row.trial == job.trial for row in front):
            assert job.recipe is not None  # trials have one
            whole = job.recipe.structure() == Recipe(depth=self.space.layers)  # large and slow: they wait their turn
            if trained or whole or self.returns.brought() >= LEAST_GROWTH:  # from bits that bring nothing, none go on
                self.study.enqueue(next_bits(self.space, job.recipe), rung=None if whole else job.rung)
        if time.monotonic() - self.tidied > TIDY_SECONDS:
            self._make_room()
            self.tidied = time.monotonic()

    def _tell(self, number: int, recipe: Recipe, outcome: Outcome) -> None:
        facts = {**outcome.facts, "ended_at": round(self.meter.seconds, 1)}  # seconds of the study
        self.known.add(self.study.tell(number, recipe, replace(outcome, facts=facts)))
        self.returns.add(self.meter.seconds, self.known.hypervolume)

    def _make_room(self) -> None:
        """Keep the artifacts' folder within its limit; the models of the teacher and of every front always stay."""
        artifacts, kept = self.plan.artifacts, {0, *(row.trial for row in self.known.front)}
        for device in self.plan.others:
            kept |= {row.trial for row in read_study(self.plan.storage, self.plan.study, device).front}
        assert artifacts.path is not None  # filled in by read_plan
        shas = [sha256 for trial in kept for sha256 in self.study.artifacts(trial).values()]
        Store(artifacts.path).shrink(artifacts.max_gb * 1e9, shas)

    def _bar(self) -> AdmissionLimits:
        """What a candidate's price must pass. With rungs, the lowest is the price, and only the surely hopeless stop before."""
        rows, limits, engine = list(self.known.rows.values()), self.plan.constraints, self.plan.engine
        expected = {} if engine.rungs else expected_drop(rows)
        return AdmissionLimits(
            max_latency_ms=limits.max_latency_ms,
            max_size_mb=limits.max_size_mb,
            teacher_latency_ms=self.known.teacher.latency_ms,
            unbeaten=tuple(
                (row.speedup, row.size_mb)
                for row in rows
                if row.speedup and row.size_mb and row.trial in expected and expected[row.trial].drop <= 0
            ),
            table=LatencyTable.learned(rows) if engine.latency_table and limits.max_latency_ms is not None else None,
            measured=not engine.rungs,
        )

    def _ending(self) -> str | None:
        """Why no further trial may start, or null."""
        early = self.plan.engine.stop_early and self.plan.budget.time is not None
        return self.meter.ending(len(self.pool.busy)) or (self.returns.stalled(self.known.promise) if early else None)

    def _tick(self, save: bool = False) -> None:
        """Keep the display alive and the time used written down."""
        self.meter.save(force=save)
        budget = self.plan.budget
        self.pool.display.progress(self.meter.spent.trials, budget.trials, self.meter.seconds, budget.time)

    def _words(self, job: Job) -> str:
        return describe(job.recipe, job.rung) if job.recipe else "the teacher"


def run_search(plan: StudyPlan, *, display: Display, offline: bool = False) -> SearchEnd:
    """Run or continue a study to the end of its budget. Everything that can be wrong is checked before any work."""
    plan = plan.as_stored(stored_plan(plan.storage, plan.study))
    space, data, lost = prepare(plan, offline)
    study = Study.open(plan, space)
    if lost is not None and study.teacher() is None:
        raise lost  # later it can catch up
    _check_same_data(plan, study, data)
    with study.lease(), open_worker_pool(plan, display, offline) as pool:
        return Search(plan, study, space, pool).run()


def prepare(plan: StudyPlan, offline: bool) -> tuple[Space, str, DeviceLost | None]:
    """Check storage, teacher, space, runtime and data, without torch; the space the plan means, the data's fingerprint, and
    the error of a further device that is out of reach."""
    config = read_config(plan.teacher.model, plan.place("teacher.model"), offline)
    assert isinstance(plan.space, dict)  # read_plan has read it
    lost: DeviceLost | None = None
    for key_path, device in plan.by_key_path.items():  # what it proposes must run on all of them
        target = open_backend(device, plan.place(key_path))
        try:
            supported = target.supported()
        except DeviceLost as error:
            if device == plan.device:
                raise
            lost = error
            continue
        runner = device.runtime + (f" on {key_path.partition('.')[2]}" if plan.devices else "")
        space = resolve_space(plan.space, config.layers, supported, plan.place("space"), runner)
    if plan.task.max_tokens > config.positions:
        raise UsageError(
            f"{plan.place('task.max_tokens')}: the model reads at most {config.positions} tokens,"
            f" but got {plan.task.max_tokens}; lower it"
        )
    check_storage(plan.storage)
    data = registry.load("tasks", plan.task.kind.replace("-", "_")).read(plan, config.id2label)
    return space, data.fingerprint, lost


def _check_same_data(plan: StudyPlan, study: Study, fingerprint: str) -> None:
    """A study goes on only with the rows it began with, whatever their files are called by now."""
    if study.teacher() is None:
        return
    known = read_trial_details(plan.storage, plan.study, 0).outcome.facts.get("data")
    if known not in (None, fingerprint):
        raise UsageError(
            f"{plan.place('task.data')}: the rows are not those that the study {plan.study!r} began with; put the data"
            " back as it was, or give the study another name"
        )


def next_bits(space: Space, recipe: Recipe) -> list[Recipe]:
    """The recipes with the next smaller and the next larger width of one bit decision: same weights, often on the front too."""
    found = []
    for decision in AFTER_RECOVERY:
        own = int(recipe.as_dict()[decision] or 0)
        others = [
            sibling
            for sibling in space.siblings(recipe)
            if all(sibling.as_dict()[name] == recipe.as_dict()[name] for name in AFTER_RECOVERY if name != decision)
        ]
        widths = {int(other.as_dict()[decision] or 0): other for other in others}
        found += [widths[max(fewer)]] if (fewer := [width for width in widths if width < own]) else []
        found += [widths[min(more)]] if (more := [width for width in widths if width > own]) else []
    return found
