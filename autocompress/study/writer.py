"""The only writer of a study: asks Optuna for trials, and records their outcomes in our tables and Optuna's.

Our rows are written first, in one transaction; Optuna's part follows. A trial that was interrupted in between is settled when
the next supervisor takes the lease, so a study can be killed at any instant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from sqlalchemy import update
from sqlalchemy.orm import Session

from autocompress.config import LAST_RUNG, Recovery, StudyPlan
from autocompress.core.agreement import Agreement
from autocompress.core.composed_speedup import ComposedSpeedup
from autocompress.core.errors import AutocompressError
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.recipe import Recipe, Scalar
from autocompress.core.trial_row import Outcome, TrialRow
from autocompress.space.space import Space
from autocompress.study import candidate_rows
from autocompress.study.asking import AskedTrial, ask_trial, begin_teacher
from autocompress.study.candidate_rows import BudgetSpent
from autocompress.study.lifecycle import OpenedStudy, open_or_create, update_plan
from autocompress.study.note_writer import NoteWriter
from autocompress.study.orphaned_trials import requeue_trial, settle_orphaned_trials
from autocompress.study.queries import read_conditions, read_rows, read_teacher
from autocompress.study.recording import TrialRecorder
from autocompress.study.retries import with_retries
from autocompress.study.row_mapping import TeacherRecord, teacher_of
from autocompress.study.samplers import make_sampler
from autocompress.study.study_connection import StudyConnection
from autocompress.study.tables import StudyRow
from autocompress.study.waiting_trials import WaitingTrials
from autocompress.study.warm_start import warm_start_recipes

__all__ = ["AskedTrial", "BudgetSpent", "Study"]

SEEDS_PER_RUN = 1_000_003  # a resumed search must not propose the same recipes as the run before it
log = logging.getLogger(__name__)


class Study:
    """One study of one database. `ask` and `tell` need the lease; no method is meant for several threads."""

    def __init__(self, plan: StudyPlan, space: Space | None, opened: OpenedStudy) -> None:
        self.name, self.plan, self.space, self.objectives = plan.study, plan, space, plan.objectives
        self._connection = StudyConnection(plan, opened)
        self._waiting = WaitingTrials(self._connection)
        self._notes = NoteWriter(self._connection)
        self._recorder = TrialRecorder(self._connection, self._notes)
        self._teacher: TeacherRecord | None = None  # never changes once it is known

    @classmethod
    def open(cls, plan: StudyPlan, space: Space | None) -> Study:
        """Create the study, or resume it; UsageError, naming the key, where the plan differs from the stored one.

        `space` may be null where no trial will be asked.
        """
        return cls(plan, space, with_retries(lambda: open_or_create(plan)))

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Be the study's only supervisor; AutocompressError where another one is alive.

        The changeable keys of the plan are stored. Trials that a dead supervisor left running are settled: finished in
        Optuna's tables, or failed and waiting again. The same happens at the end with trials that still run.
        """
        connection = self._connection
        connection.lease.take()
        try:
            connection.write(lambda session: update_plan(session, connection.ac_id, self.plan))
            connection.use_sampler(make_sampler(self.plan.engine.sampler, self._sampler_seed()))
            settle_orphaned_trials(connection, self._waiting, self._recorder, crashed=True)
            if self.space is not None and self.teacher() is not None:
                self.enqueue(self._initial_recipes(self.space))
            yield
        finally:
            try:
                settle_orphaned_trials(connection, self._waiting, self._recorder, crashed=False)
            except AutocompressError as error:  # the lease was lost: its new holder settles the trials
                log.warning("running trials are not settled here: %s", error)
            finally:
                connection.lease.release()

    def teacher(self) -> TeacherRecord | None:
        """Return the teacher's numbers; null until trial 0 is complete."""
        if self._teacher is None:
            connection = self._connection
            self._teacher = connection.read(lambda session: read_teacher(session, connection.study_row(session)))
        return self._teacher

    def record_teacher(self, outcome: Outcome) -> TeacherRecord:
        """Record trial 0, fix the hypervolume's reference point, and enqueue the initial recipes.

        ValueError where the outcome is not complete.
        """
        space = self._require_space()
        record = teacher_of(outcome)
        begin_teacher(self._connection, space, space.teacher)
        self.tell(0, space.teacher, outcome)
        self.enqueue(self._initial_recipes(space))
        return record

    def ask(
        self,
        rung_of: Callable[[Recipe], int] = lambda recipe: LAST_RUNG,
        pinned: Mapping[str, Scalar] | None = None,
        promoted: tuple[Recipe, int] | None = None,
        retries: bool = True,
    ) -> AskedTrial:
        """Start the next trial and return it.

        The order: interrupted trials (none without `retries`), `promoted` (a recipe and its rung), enqueued trials, and a
        recipe of the sampler, which leaves the decisions in `pinned` at these values. `rung_of` returns the rung of a recipe
        that was not enqueued for a certain one. ValueError before the teacher is recorded.
        """
        space = self._require_space()
        if self.teacher() is None:
            raise ValueError("the teacher is trial 0: record it before asking")
        return ask_trial(self._connection, self._waiting, space, rung_of, pinned, promoted, retries)

    def enqueue(self, recipes: Iterable[Recipe], most: int | None = None, rung: int | None = None) -> int:
        """Enqueue at most `most` of the recipes that neither wait nor were begun; return how many were added.

        With a `rung`, a recipe counts as begun only where it was trained at least as far.
        """
        return self._waiting.enqueue(self._require_space(), recipes, most, rung)

    def has_waiting(self, interrupted: bool = False) -> bool:
        """Return whether any trial waits; with `interrupted`, whether one waits that repeats an interrupted trial."""
        return self._waiting.count_retries() > 0 if interrupted else bool(self._waiting.by_number())

    def find_duplicate(self, recipe: Recipe, rung: int = LAST_RUNG) -> Outcome | None:
        """Return the outcome of a trial of the same recipe, trained at least as far, so that it need not run again.

        Null where there is none. A stopped trial counts only under the constraints that it was stopped under.
        """
        connection = self._connection
        return connection.read(
            lambda session: candidate_rows.find_duplicate(
                session, connection.ac_id, recipe, rung, connection.constraints
            )
        )

    def artifacts_of(self, number: int) -> dict[str, str]:
        """Return the sha256 of a trial's artifact for each runtime of the study's devices; empty where it has none."""
        by_runtime = {}
        for name, device in ((None, self.plan.device), *self.plan.others.items()):
            row = self._connection.read(partial(self._read_row, number, name))
            if row is not None and row.sha256 is not None:
                by_runtime[device.runtime] = row.sha256
        return by_runtime

    def times_beside_teacher(self) -> bool:
        """Return whether the teacher was measured without a timing reference: the study goes on in the same way."""
        connection = self._connection
        conditions = connection.read(lambda session: read_conditions(session, connection.ac_id, 0))
        return bool(conditions) and ComposedSpeedup.from_conditions(conditions) is None

    def tell(self, number: int, recipe: Recipe, outcome: Outcome) -> TrialRow:
        """Record the outcome of a trial and return its row. A second call changes nothing.

        A complete trial without finite numbers becomes a failed one.
        """
        return self._recorder.tell(number, recipe, outcome)

    def record_quality(self, number: int, quality: Quality, other_devices: Mapping[str, Quality] | None = None) -> None:
        """Record the quality of a complete trial on another split (test), also on secondary devices. Needs no lease."""
        self._recorder.record_quality(number, quality, other_devices or {})

    def record_agreement(self, number: int, agreement: Agreement) -> None:
        """Record the comparison of a complete trial with the teacher on the agreement rows. Needs no lease."""
        self._recorder.record_agreement(number, agreement)

    def record_other_devices(self, number: int, measurements: Mapping[str, Measurement]) -> None:
        """Record the measurements of a complete trial on secondary devices that were unreachable before."""
        self._recorder.record_other_devices(number, measurements)

    def requeue(self, number: int) -> TrialRow:
        """Let a running trial wait again under a new number, without counting a crash; return the row of the attempt."""
        connection = self._connection
        trial_id = connection.running[number]._trial_id
        row = connection.read(partial(candidate_rows.find_candidate, ac_id=connection.ac_id, number=number))
        assert row is not None  # it was begun
        trial = with_retries(lambda: connection.optuna_storage.get_trial(trial_id))
        self._waiting.forget()
        return requeue_trial(connection, self._recorder, trial, row, crashed=False)

    def fitted_recovery(self) -> Recovery | None:
        """Return the recovery that was fitted to the time budget when the study was begun; null where none was."""
        stored = self._connection.read(lambda session: self._connection.study_row(session).recovery)
        return None if stored is None else Recovery.model_validate(stored)

    def record_recovery(self, recovery: Recovery) -> None:
        """Store a fitted recovery, so that later runs train all trials alike."""
        values, connection = recovery.model_dump(mode="json"), self._connection
        connection.write(lambda session: setattr(connection.study_row(session), "recovery", values))

    def budget_spent(self) -> BudgetSpent:
        """Return the used budget."""
        retries, ac_id = self._waiting.count_retries(), self._connection.ac_id
        return self._connection.read(lambda session: candidate_rows.count_budget_spent(session, ac_id, retries))

    def add_seconds(self, seconds: float) -> None:
        """Add the time that a run has used."""
        added = update(StudyRow).where(StudyRow.id == self._connection.ac_id).values(seconds=StudyRow.seconds + seconds)
        self._connection.write_without_lease(lambda session: session.execute(added))

    def finish(self) -> None:
        """Update the study's note and plots for the dashboard."""
        self._notes.write_study(self.budget_spent().seconds)

    def close(self) -> None:
        """Close the connections; the study must not be used any more."""
        self._connection.engine.dispose()

    def _initial_recipes(self, space: Space) -> list[Recipe]:
        """Return the initial recipes of the space, and those of earlier studies of this teacher."""
        if not self.plan.engine.starters:
            return []
        return [*space.initial_recipes(), *filter(space.contains, warm_start_recipes(self.plan))]

    def _require_space(self) -> Space:
        if self.space is None:
            raise ValueError(f"study {self.name} was opened without a space: no trial can be asked")
        return self.space

    def _read_row(self, number: int, device: str | None, session: Session) -> TrialRow | None:
        rows = read_rows(session, self._connection.study_row(session), number, device=device)
        return rows[0] if rows else None

    def _sampler_seed(self) -> int:
        runs = self._connection.read(lambda session: self._connection.study_row(session).runs)
        return (self.plan.seed + SEEDS_PER_RUN * (runs - 1)) % 2**32
