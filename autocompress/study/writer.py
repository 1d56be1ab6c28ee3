"""The only writer of a study: asks Optuna, keeps our rows, and tells Optuna what came out.

Our rows are written first, in one transaction; Optuna's half follows. What was cut short in between is finished when
the next supervisor takes the lease, so a study can be killed at any instant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from autocompress.config import LAST_RUNG, Recovery, StudyPlan
from autocompress.core.errors import AutocompressError
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.recipe import Recipe, Scalar
from autocompress.core.trial_row import Outcome, TrialRow
from autocompress.selection import Reference, growth, standings
from autocompress.space.space import Space
from autocompress.study import candidate_rows, queue
from autocompress.study.candidate_rows import BudgetSpent
from autocompress.study.dashboard_notes import NotedTrial, save_figures, save_note, study_note, trial_note
from autocompress.study.database import with_retries
from autocompress.study.lease import Lease
from autocompress.study.lifecycle import OpenedStudy, open_or_create, renew
from autocompress.study.optuna_adapter import finish_trial
from autocompress.study.queries import ends_of, flagged, read_conditions, read_reference, read_rows, read_teacher
from autocompress.study.row_mapping import TeacherRecord, teacher_of
from autocompress.study.samplers import make_sampler
from autocompress.study.tables import CandidateRow, StudyRow
from autocompress.study.warm_start import warm_start_recipes

__all__ = ["AskedTrial", "BudgetSpent", "Study"]

SEEDS_PER_RUN = 1_000_003  # a resumed search must not propose again what the run before it proposed
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class AskedTrial:
    """A trial to do."""

    number: int
    recipe: Recipe
    rung: int
    retry: bool  # it was interrupted before, and does not count in the budget

    @property
    def row(self) -> TrialRow:
        """The trial as it stands while it runs."""
        return TrialRow(trial=self.number, state="running", reason=None, recipe=self.recipe, rung=self.rung)


class Study:
    """One study of one database. `ask` and `tell` need the lease; nothing here is meant for several threads."""

    def __init__(self, plan: StudyPlan, space: Space | None, opened: OpenedStudy) -> None:
        self.name, self.plan, self.space, self.objectives = plan.study, plan, space, plan.objectives
        self._constraints = plan.constraints.model_dump()
        self._id, self._storage, self._engine = opened.ac_id, opened.storage, opened.storage.engine
        self._study = optuna.load_study(study_name=self.name, storage=self._storage)
        self._lease = Lease(self._engine, self._id, self.name)
        self._trials: dict[int, optuna.Trial] = {}  # those that were asked and not yet told
        self._waiting: dict[int, FrozenTrial] | None = None  # by number; null: to be read
        self._teacher: TeacherRecord | None = None  # which does not change any more once it is known

    @classmethod
    def open(cls, plan: StudyPlan, space: Space | None) -> Study:
        """Create the study, or resume it; UsageError where the plan is not the stored one, naming the key.

        `space` may be null where nothing will be asked.
        """
        return cls(plan, space, with_retries(lambda: open_or_create(plan)))

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Be the study's only supervisor; AutocompressError where another one lives.

        What may change in a plan is stored. What a dead supervisor left is put in order: half-told trials are finished,
        interrupted ones fail and wait again. The same is done at the end with trials that still run.
        """
        self._lease.take()
        try:
            self._write(lambda session: renew(session, self._id, self.plan))
            sampler = make_sampler(self.plan.engine.sampler, self._seed())
            self._study = optuna.load_study(study_name=self.name, storage=self._storage, sampler=sampler)
            self._adopt(died=True)
            if self.space is not None and self.teacher() is not None:
                self.enqueue(self._initial_recipes(self.space))
            yield
        finally:
            try:
                with suppress(AutocompressError):  # the lease was lost: the trials are another's now
                    self._adopt(died=False)
            finally:
                self._lease.release()

    def teacher(self) -> TeacherRecord | None:
        """What every trial is measured against; null until trial 0 is complete."""
        if self._teacher is None:
            self._teacher = self._read(lambda session: read_teacher(session, session.get_one(StudyRow, self._id)))
        return self._teacher

    def record_teacher(self, outcome: Outcome) -> TeacherRecord:
        """Trial 0, complete before anything is asked; fixes the hypervolume's reference point, queues the starters."""
        space = self._asking_space()
        record, recipe = teacher_of(outcome), Recipe(depth=space.layers)
        queued = with_retries(lambda: self._begin_teacher(space, recipe))
        self._write(lambda session: candidate_rows.begin(session, self._id, queued, recipe, None))
        self.tell(0, recipe, outcome)
        self.enqueue(self._initial_recipes(space))
        return record

    def ask(
        self,
        rung_of: Callable[[Recipe], int] = lambda recipe: LAST_RUNG,
        pinned: Mapping[str, Scalar] | None = None,
        further: tuple[Recipe, int] | None = None,
        retries: bool = True,
    ) -> AskedTrial:
        """The next trial, running from now on: interrupted ones first (none of them without `retries`), then `further`, a
        recipe and its rung, then what was enqueued, then the sampler's.

        `rung_of` says at which rung a recipe begins, where it was not enqueued for a certain one; `pinned` are values
        that the sampler is to leave as they are.
        """
        space = self._asking_space()
        if self.teacher() is None:
            raise ValueError("the teacher is trial 0: record it before asking")
        if further is not None:
            self.enqueue([further[0]], rung=further[1])
        elif pinned and not self._eligible(retries):
            self._wait_in_line(pinned)
        waiting, eligible = self._those_waiting(), self._eligible(retries)
        first = None if further is None else (further[0].key, further[1])
        queued = with_retries(lambda: queue.next_trial(self._study, eligible, first))
        waiting.pop(queued.number, None)
        recipe = with_retries(lambda: space.suggest(queued.trial))
        rung = rung_of(recipe) if queued.rung is None else queued.rung
        uid = self._write(lambda session: candidate_rows.begin(session, self._id, queued, recipe, rung))
        with_retries(lambda: queued.trial.set_user_attr("uid", uid))
        self._trials[queued.number] = queued.trial
        return AskedTrial(number=queued.number, recipe=recipe, rung=rung, retry=queued.retry_of is not None)

    def enqueue(self, recipes: Iterable[Recipe], most: int | None = None, rung: int | None = None) -> int:
        """Let recipes wait for their turn, but those that are known or wait already, and not more than `most`; returns how
        many were new. With a `rung`, they are known only where they were trained as far as that."""
        space, new = self._asking_space(), 0
        for recipe in recipes:
            if new == most:
                break
            if not self._is_known(recipe.key, rung):
                self._wait_in_line(space.params(recipe), recipe.key, rung)
                new += 1
        return new

    def fitted_recovery(self) -> Recovery | None:
        """The recovery that was fitted to the time budget when the study was begun; null where none was."""
        stored = self._read(lambda session: session.get_one(StudyRow, self._id).recovery)
        return None if stored is None else Recovery.model_validate(stored)

    def record_recovery(self, recovery: Recovery) -> None:
        """Keep a fitted recovery: all trials are trained alike, in later runs, too."""
        values = recovery.model_dump(mode="json")
        self._write(lambda session: setattr(session.get_one(StudyRow, self._id), "recovery", values))

    def waits(self, interrupted: bool = False) -> bool:
        """Whether any trial waits for its turn; `interrupted`: one that repeats another."""
        return any(not interrupted or queue.retry_of(trial) is not None for trial in self._those_waiting().values())

    def duplicate(self, recipe: Recipe, rung: int = LAST_RUNG) -> Outcome | None:
        """The outcome of the same candidate in this study, trained as far or further, to be told instead of doing it
        again; null if there is none.

        A stopped one counts only as long as the constraints are those it was stopped under.
        """
        return self._read(
            lambda session: candidate_rows.find_duplicate(session, self._id, recipe, rung, self._constraints)
        )

    def artifacts(self, number: int) -> dict[str, str]:
        """What a trial runs as: the sha256 of its artifact for each runtime of the study's devices; empty where it has none."""
        found = {}
        for name, device in ((None, self.plan.device), *self.plan.others.items()):
            row = self._read(partial(self._row_on, number, name))
            if row is not None and row.sha256 is not None:
                found[device.runtime] = row.sha256
        return found

    def tell(self, number: int, recipe: Recipe, outcome: Outcome) -> TrialRow:
        """How a trial ended, and its row. Telling it again changes nothing; a complete trial without finite numbers is a
        failure."""
        self._write(lambda session: self._record(session, number, recipe, outcome))
        return self._finish_optunas(number)

    def record_quality(self, number: int, quality: Quality, other_devices: Mapping[str, Quality] | None = None) -> None:
        """Quality of a complete trial on another split (test), and on further devices. Needs no lease."""

        def record(session: Session) -> None:
            candidate_rows.record_quality(session, self._id, number, quality)
            for device, other in (other_devices or {}).items():
                candidate_rows.record_quality(session, self._id, number, other, device)

        self._write(record, fenced=False)
        noted = self._read(partial(self._noted, number))
        with_retries(lambda: self._save_note(noted))

    def record_other_devices(self, number: int, found: Mapping[str, Measurement]) -> None:
        """What a complete trial is on further devices, which were out of reach when it was measured."""
        self._write(lambda session: candidate_rows.record_other_devices(session, self._id, number, found))
        noted = self._read(partial(self._noted, number))
        with_retries(lambda: self._save_note(noted))

    def put_back(self, number: int) -> TrialRow:
        """Let a trial that runs wait again under a new number, for no fault of its own; the row of the attempt."""
        trial = self._trials[number]
        row = self._read(partial(candidate_rows.find, ac_id=self._id, number=number))
        assert row is not None  # it was begun
        frozen = with_retries(lambda: self._study._storage.get_trial(trial._trial_id))
        self._waiting = None
        return self._interrupt(frozen, row, died=False)

    def spent(self) -> BudgetSpent:
        """What was used of the budget."""
        retries = sum(queue.retry_of(trial) is not None for trial in self._those_waiting().values())
        return self._read(lambda session: candidate_rows.spent(session, self._id, retries))

    def add_seconds(self, seconds: float) -> None:
        """Count time that a run has used."""
        more = update(StudyRow).where(StudyRow.id == self._id).values(seconds=StudyRow.seconds + seconds)
        self._write(lambda session: session.execute(more), fenced=False)

    def finish(self) -> None:
        """Bring the study's note and its plots up to date, for the dashboard."""
        found, corner = self._read(self._rows_and_reference)
        rows = flagged(found, self.objectives, self._constraints)
        before = with_retries(lambda: self._study._storage.get_study_system_attrs(self._study._study_id))
        for number, standing in standings(rows, corner, self._constraints).items():
            noted = self._read(partial(self._noted, number))
            with_retries(partial(self._save_note, noted, before, standing))
        storage, study_id = self._study._storage, self._study._study_id
        teacher = next((row for row in rows if row.trial == 0), None)
        with_retries(lambda: save_note(storage, study_id, None, study_note(self.name, rows, teacher)))
        ends, seconds = self._read(partial(ends_of, ac_id=self._id)), self.spent().seconds
        grown = growth(rows, ends, self.objectives, self._constraints, corner)
        with_retries(lambda: save_figures(storage, study_id, rows, grown, seconds))

    def close(self) -> None:
        """Close the connections; the study is not to be used any more."""
        self._engine.dispose()

    # ---- putting in order what was cut short -------------------------------------------------------------------

    def _adopt(self, died: bool) -> None:
        """Settle every trial that Optuna takes for running, though nobody does it any more."""
        self._trials.clear()
        self._waiting = None
        for trial in with_retries(lambda: queue.in_state(self._study, TrialState.RUNNING)):
            row = self._read(partial(candidate_rows.find, ac_id=self._id, number=trial.number))
            if row is None or (trial.number == 0 and row.state == "running"):
                self._wait_again(trial)  # it was never given out; or it is the teacher, which stays trial 0
            elif row.state in candidate_rows.FINISHED:
                self._finish_optunas(trial.number)  # told, but Optuna's half was cut short
            else:
                self._interrupt(trial, row, died)
        self._waiting = None

    def _interrupt(self, trial: FrozenTrial, row: CandidateRow, died: bool) -> TrialRow:
        retry = with_retries(lambda: queue.requeue(self._study, trial, row.recipe_key, row.rung, died))
        self._write(lambda session: candidate_rows.interrupt(session, self._id, trial.number, retry))
        return self._finish_optunas(trial.number)

    def _wait_again(self, trial: FrozenTrial) -> None:
        self._write(lambda session: None)  # only with the lease
        with_retries(lambda: self._study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING))

    # ---- pieces ------------------------------------------------------------------------------------------------

    def _begin_teacher(self, space: Space, recipe: Recipe) -> queue.QueuedTrial:
        """Trial 0, running; with parameters where the space contains the teacher."""
        params = space.params(recipe) if space.contains(recipe) else None
        storage, trials = self._study._storage, self._study.get_trials(deepcopy=False)
        if not trials:
            attrs = {"fixed_params": params} if params else {}
            storage.create_new_trial(self._study._study_id, create_trial(state=TrialState.WAITING, system_attrs=attrs))
        trial_id = storage.get_trial_id_from_study_id_trial_number(self._study._study_id, 0)
        if storage.get_trial(trial_id).state == TrialState.WAITING:
            storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        trial = queue.trial_object(self._study, trial_id)
        if params:
            space.suggest(trial)
        return queue.QueuedTrial(trial=trial, number=0, trial_id=trial_id, retry_of=None)

    def _finish_optunas(self, number: int) -> TrialRow:
        """Optuna's half of a trial that is finished in our tables; its row."""
        noted = self._read(partial(self._noted, number))
        trial = self._trials.get(number) or queue.trial_object(self._study, noted.trial_id)
        with_retries(
            lambda: finish_trial(self._engine, self._study, trial, noted.row, self.objectives, self._constraints)
        )
        with_retries(lambda: self._save_note(noted, before={}))  # there is none yet
        self._trials.pop(number, None)
        return noted.row

    def _rows_and_reference(self, session: Session) -> tuple[list[TrialRow], Reference | None]:
        study = session.get_one(StudyRow, self._id)
        return read_rows(session, study), read_reference(study)

    def _save_note(
        self, noted: NotedTrial, before: Mapping[str, Any] | None = None, standing: str | None = None
    ) -> None:
        noted = noted if standing is None else replace(noted, row=replace(noted.row, reason=standing))
        note = trial_note(self.name, noted, self._constraints)
        save_note(self._study._storage, self._study._study_id, noted.trial_id, note, before)

    def _row_on(self, number: int, device: str | None, session: Session) -> TrialRow | None:
        found = read_rows(session, session.get_one(StudyRow, self._id), number, device=device)
        return found[0] if found else None

    def _noted(self, number: int, session: Session) -> NotedTrial:
        study = session.get_one(StudyRow, self._id)
        rows = read_rows(session, study, 0, number)
        candidate = candidate_rows.find(session, self._id, number)
        assert candidate is not None  # it was begun
        return NotedTrial(
            trial_id=candidate.trial_id,
            row=rows[-1],
            teacher=rows[0] if rows[0].trial == 0 else None,
            conditions=read_conditions(session, self._id, number),
            facts=candidate.facts,
            stages=candidate.stages,
            other_devices={other: read_rows(session, study, number, device=other)[0] for other in self.plan.others},
        )

    def _wait_in_line(self, params: Mapping[str, Any], recipe_key: str = "", rung: int | None = None) -> None:
        waiting = self._those_waiting()
        trial = with_retries(lambda: queue.enqueue(self._study, params, recipe_key, rung))
        waiting[trial.number] = trial

    def _record(self, session: Session, number: int, recipe: Recipe, outcome: Outcome) -> None:
        candidate_rows.record(
            session, candidate_rows.find(session, self._id, number), recipe, outcome, self._constraints
        )

    def _is_known(self, recipe_key: str, rung: int | None) -> bool:
        """Whether a recipe was begun or waits; with a `rung`, to be trained as far as that."""
        query = select(CandidateRow.id).filter_by(ac_study_id=self._id, recipe_key=recipe_key).limit(1)
        if rung is not None:
            query = query.where(CandidateRow.rung >= rung)
        waiting = queue.work(self._those_waiting().values())
        rungs = [other for key, other in waiting if key == recipe_key]
        waits = any(rung is None or (other is not None and other >= rung) for other in rungs)
        return waits or self._read(lambda session: session.scalar(query) is not None)

    def _initial_recipes(self, space: Space) -> list[Recipe]:
        """What to try first: known good recipes, corners, and what earlier studies of this teacher found."""
        if not self.plan.engine.starters:
            return []
        return [*space.initial_recipes(), *filter(space.contains, warm_start_recipes(self.plan))]

    def _those_waiting(self) -> dict[int, FrozenTrial]:
        if self._waiting is None:
            found = with_retries(lambda: queue.in_state(self._study, TrialState.WAITING))
            self._waiting = {trial.number: trial for trial in found}
        return self._waiting

    def _eligible(self, retries: bool) -> list[FrozenTrial]:
        return [trial for trial in self._those_waiting().values() if retries or queue.retry_of(trial) is None]

    def _asking_space(self) -> Space:
        if self.space is None:
            raise ValueError("this study was opened without a space: nothing can be asked")
        return self.space

    def _seed(self) -> int:
        runs = self._read(lambda session: session.get_one(StudyRow, self._id).runs)
        return (self.plan.seed + SEEDS_PER_RUN * (runs - 1)) % 2**32

    def _read(self, act: Callable[[Session], Value]) -> Value:
        return self._write(act, fenced=False)

    def _write(self, act: Callable[[Session], Value], fenced: bool = True) -> Value:
        """One transaction of ours, tried again where the database is busy; Optuna is never called inside."""

        def transaction() -> Value:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                if fenced:
                    self._lease.check(session)
                return act(session)

        return with_retries(transaction)
