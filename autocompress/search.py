"""Run a study: ask for recipes, let workers try them, tell what came out, until a budget is met or someone says stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from random import Random
from types import FrameType
from typing import Protocol

from autocompress import registry
from autocompress.budget import Meter
from autocompress.errors import AutocompressError, UsageError
from autocompress.front import as_expected, expected_drop, on_front
from autocompress.jobs import Bar, Done, Job, Said
from autocompress.measurement import Outcome, Result
from autocompress.model_config import read_config
from autocompress.plan import StudyPlan, check_storage
from autocompress.recipe import AFTER_RECOVERY, Recipe
from autocompress.space import Space, resolve_space
from autocompress.store import Store
from autocompress.study import Study, read_study
from autocompress.study.details import read_details
from autocompress.workers import Worker, cores

POLL_SECONDS = 0.5
TWINS_IN_A_ROW = 10  # proposals already known, one after another: the space is as good as exhausted
DRAWS = 200  # recipes drawn, after a proposal that was known, to find one that is not


class Display(Protocol):
    """What a search tells its user while it runs."""

    def stage(self, worker: int, trial: int, words: str, stage: str, fraction: float) -> None:
        """A worker is so far in a stage of a trial."""

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, words: str) -> None:
        """A trial ended."""

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None:
        """How much of the budget is used."""

    def front(self, rows: Sequence[Result], teacher: Result | None) -> None:
        """The front so far."""

    def say(self, text: str) -> None:
        """One line of news."""


@dataclass(frozen=True)
class Ending:
    """How a search ended."""

    reason: str
    interrupted: bool
    trials: int
    seconds: float


@dataclass
class _Interrupt:
    """Set by Ctrl-C or SIGTERM; a second one ends the program at once."""

    asked: bool = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@dataclass
class Search:
    """One run of a study's supervisor: asks, watches, tells."""

    plan: StudyPlan
    study: Study
    space: Space
    display: Display
    offline: bool
    workers: list[Worker] = field(default_factory=list)
    chance: Random = field(init=False)
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.chance = Random(self.plan.seed)
        self.meter = Meter(self.plan.budget, self.study)

    def run(self) -> Ending:
        """Teacher, trials, finalists; every exit leaves a valid front behind."""
        with _catching() as interrupt, self.pool():
            reason = self._teacher(interrupt) or self._shared(interrupt) or self._trials(interrupt)
            for worker in self.workers:
                if worker.job is not None:
                    worker.close()  # interrupted: its trial is tried again when the study goes on
            if self.study.teacher() is not None:
                self._finalists()
        return Ending(reason, interrupt.asked, self.meter.spent.trials, self.meter.spent.seconds)

    # ---- the four parts ---------------------------------------------------------------------------------------

    def _teacher(self, interrupt: _Interrupt) -> str | None:
        """Trial 0, complete before anything is asked; a reason to end where that was not to be."""
        known = self.study.teacher()
        if known is None:
            done = self._run_alone(Job("teacher", 0), "the teacher", interrupt)
            if done is None:
                return "interrupted"
            if done.outcome is None or done.outcome.state != "complete":
                kind = UsageError if done.usage else AutocompressError
                raise kind(done.error or "the teacher could not be measured")
            self.study.record_teacher(done.outcome)
            self.display.finished(0, Recipe(), done.outcome, "teacher, fp32")
            known = self.study.teacher()
        assert known is not None  # recorded just now
        for worker in self.workers:
            worker.reference_sha = known.sha256
        return None

    def _shared(self, interrupt: _Interrupt) -> str | None:
        """What all trials share, on all cores; a reason to end where that was not to be."""
        if self._ending(0) is not None:
            return None
        done = self._run_alone(Job("shared", 0), "what all trials share", interrupt)
        if done is not None and done.error is not None:
            raise (UsageError if done.usage else AutocompressError)(done.error)
        return "interrupted" if done is None else None

    def _trials(self, interrupt: _Interrupt) -> str:
        """Ask, start, watch and tell until the budget is met; the reason why it ended."""
        twins = 0  # proposals in a row that were known already
        while not interrupt.asked:
            ending = None
            for worker in self.workers:
                if worker.job is None and (ending := self._ending(twins)) is None:
                    twins = 0 if self._start(worker) else twins + 1
            busy = [worker for worker in self.workers if worker.job is not None]
            if ending is not None and not busy:
                return ending
            wait([worker.pipe for worker in busy if worker.pipe is not None], POLL_SECONDS)
            for worker in busy:
                self._watch(worker)
            self._tick()
        return "interrupted"

    def _finalists(self) -> None:
        """Measure the teacher, what is on the front and what `pick` may name on the test split."""
        rows = self._rows()
        expected = [row if row.expected_drop is None else as_expected(row, row.expected_drop) for row in rows]
        likely = on_front(expected, self.plan.objectives)
        final = [row for row in rows if row.on_front or row.trial in {0} | likely]
        chosen = [row for row in final if row.test_quality is None]
        self.test([row for row in chosen if row.sha256 is not None])
        self.study.finish()
        self._tick(save=True)

    # ---- pieces ------------------------------------------------------------------------------------------------

    def _start(self, worker: Worker) -> bool:
        """Ask for a recipe and give it to a worker; false where a twin's result answered it."""
        asked = self.study.ask()
        self.meter.changed()
        twin = self.study.twin(asked.recipe)
        if twin is not None:
            self.study.tell(asked.number, asked.recipe, twin)
            self.study.enqueue((self.space.draw(self.chance) for _ in range(DRAWS)), most=1)  # something new next
            return False
        worker.start(Job("trial", asked.number, asked.recipe, self._bar()))
        return True

    def _watch(self, worker: Worker) -> None:
        """Take a worker's next word, if it has one."""
        job = worker.job
        said = worker.poll(0)
        if job is None or said is None:
            return
        if isinstance(said, Said):
            self.display.stage(self.workers.index(worker), job.trial, self._words(job), said.stage, said.fraction)
            return
        seconds = time.monotonic() - worker.started
        outcome = said.outcome or Outcome(state="failed", reason=said.error, seconds=seconds)
        assert job.recipe is not None  # trials have one
        self.study.tell(job.trial, job.recipe, outcome)
        self.meter.changed()
        self.display.finished(job.trial, job.recipe, outcome, job.recipe.in_words())
        if outcome.state == "complete":
            self._after(job.trial, job.recipe, outcome)

    def _after(self, trial: int, recipe: Recipe, outcome: Outcome) -> None:
        """Show the front; where the trial is on it, propose the same weights in fewer bits, which need no training."""
        rows = self._rows()
        self.display.front([row for row in rows if row.on_front], next((r for r in rows if r.trial == 0), None))
        if outcome.stages.get("recovery", 0) > outcome.seconds / 4:
            self.meter.durations.append(outcome.seconds)
        if any(row.trial == trial and row.on_front for row in rows):
            self.study.enqueue(next_bits(self.space, recipe))
        self._make_room(rows)

    def _make_room(self, rows: Sequence[Result]) -> None:
        """Keep the artifacts' folder within its limit; the teacher's model and those on the front always stay."""
        artifacts = self.plan.artifacts
        assert artifacts.path is not None  # filled in by read_plan
        keep = [row.sha256 for row in rows if row.sha256 and (row.on_front or row.trial == 0)]
        Store(artifacts.path).shrink(artifacts.max_gb * 1e9, keep)

    def test(self, rows: Sequence[Result]) -> None:
        """Measure finished trials on the test split."""
        for row in rows:
            done = self._run_alone(Job("test", row.trial, row.recipe, sha256=row.sha256), row.recipe.in_words(), None)
            if done is not None and done.quality is not None:
                self.study.record_quality(row.trial, done.quality)
            elif done is not None:
                self.display.say(f"trial {row.trial} could not be measured on the test split: {done.error}")

    def _run_alone(self, job: Job, words: str, interrupt: _Interrupt | None) -> Done | None:
        """Run one job to its end on the first worker; null when interrupted."""
        worker = self.workers[0]
        worker.start(job)
        while interrupt is None or not interrupt.asked:
            said = worker.poll(POLL_SECONDS)
            if isinstance(said, Said):
                self.display.stage(0, job.trial, words, said.stage, said.fraction)
            elif said is not None:
                return said
            self._tick()
        worker.close()
        return None

    def _bar(self) -> Bar:
        """What a candidate's price must pass."""
        rows = self._rows()
        limits, expected = self.plan.constraints, expected_drop(rows)
        return Bar(
            max_latency_ms=limits.max_latency_ms,
            max_size_mb=limits.max_size_mb,
            teacher_latency_ms=next(row.latency_ms for row in rows if row.trial == 0),
            unbeaten=tuple(
                (row.speedup, row.size_mb)
                for row in rows
                if row.speedup and row.size_mb and row.trial in expected and expected[row.trial].drop <= 0
            ),
        )

    def _ending(self, twins: int) -> str | None:
        """Why no further trial may start, or null."""
        if twins >= TWINS_IN_A_ROW:
            return f"the last {twins} proposals were all known: the space is exhausted"
        return self.meter.ending(running=sum(worker.job is not None for worker in self.workers))

    def _tick(self, save: bool = False) -> None:
        """Keep the display alive and the time used written down."""
        self.meter.save(force=save)
        budget = self.plan.budget
        self.display.progress(self.meter.spent.trials, budget.trials, self.meter.seconds, budget.time)

    def _rows(self) -> tuple[Result, ...]:
        return read_study(self.plan.storage, self.plan.study).rows

    def _words(self, job: Job) -> str:
        return job.recipe.in_words() if job.recipe else "the teacher"

    @contextmanager
    def pool(self) -> Iterator[None]:
        """The workers, each with its share of the cores; ended at the end, whatever happens."""
        threads = max(1, cores() // self.plan.workers)
        root = self.plan.artifacts.path
        assert root is not None  # filled in by read_plan
        self.workers = [Worker(self.plan, root, threads, self.offline) for _ in range(self.plan.workers)]
        try:
            yield
        finally:
            for worker in self.workers:
                worker.close()


def run_search(plan: StudyPlan, *, display: Display, offline: bool = False) -> Ending:
    """Run or continue a study to the end of its budget. Everything that can be wrong is checked before any work."""
    space, data = prepare(plan, offline)
    study = Study.open(plan, space)
    _check_same_data(plan, study, data)
    with study.lease():
        return Search(plan, study, space, display, offline).run()


def prepare(plan: StudyPlan, offline: bool) -> tuple[Space, str]:
    """Check storage, teacher, space, runtime and data, without torch; the space the plan means, the data's fingerprint."""
    config = read_config(plan.teacher.model, plan.place("teacher.model"), offline)
    runtime = registry.load("runtimes", plan.device.runtime, plan.place("device.runtime"))
    if runtime.available() is None:
        raise UsageError(f"{plan.place('device.runtime')}: {plan.device.runtime} is not installed; pip install it")
    assert isinstance(plan.space, dict)  # read_plan has read it
    supported = runtime.supported()
    space = resolve_space(plan.space, config.layers, supported, plan.place("space"), plan.device.runtime)
    if plan.task.max_tokens > config.positions:
        raise UsageError(
            f"{plan.place('task.max_tokens')}: the model reads at most {config.positions} tokens,"
            f" but got {plan.task.max_tokens}; lower it"
        )
    check_storage(plan.storage)
    data = registry.load("tasks", plan.task.kind.replace("-", "_")).read(plan, config.id2label)
    return space, data.fingerprint


def _check_same_data(plan: StudyPlan, study: Study, fingerprint: str) -> None:
    """A study goes on only with the rows it began with, whatever their files are called by now."""
    if study.teacher() is None:
        return
    known = read_details(plan.storage, plan.study, 0).outcome.facts.get("data")
    if known not in (None, fingerprint):
        raise UsageError(
            f"{plan.place('task.data')}: the rows are not those that the study {plan.study!r} began with; put the data"
            " back as it was, or give the study another name"
        )


def measure_tests(plan: StudyPlan, trials: Sequence[int], *, display: Display, offline: bool = False) -> None:
    """Measure some finished trials, and the teacher, on the test split, outside of a search."""
    study = Study.open(plan, None)
    search = Search(plan, study, Space(0, {}), display, offline)
    with search.pool():
        rows = read_study(plan.storage, plan.study).rows
        known = study.teacher()
        search.workers[0].reference_sha = known.sha256 if known else None
        search.test([row for row in rows if row.trial in {0, *trials} and row.test_quality is None])


def next_bits(space: Space, recipe: Recipe) -> list[Recipe]:
    """The recipes with the next smaller width of one bit decision: same weights, smaller, often on the front too."""
    fewer = []
    for decision in AFTER_RECOVERY:
        others = [
            sibling
            for sibling in space.siblings(recipe)
            if sibling.as_dict()[decision] < recipe.as_dict()[decision]  # type: ignore[operator]  # bit-widths are ints
            and all(sibling.as_dict()[name] == recipe.as_dict()[name] for name in AFTER_RECOVERY if name != decision)
        ]
        fewer += sorted(others, key=lambda other: -int(other.as_dict()[decision] or 0))[:1]
    return fewer


@contextmanager
def _catching() -> Iterator[_Interrupt]:
    """Ctrl-C and SIGTERM ask the loop to end instead of breaking it."""
    interrupt = _Interrupt()
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
