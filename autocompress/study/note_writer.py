"""Writing the notes and plots of a study that Optuna's dashboard shows."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sqlalchemy.orm import Session

from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.core.teacher_warning import TeacherWarning
from autocompress.core.trial_row import TrialRow
from autocompress.selection import Reference, growth, standings
from autocompress.study.candidate_rows import find_candidate
from autocompress.study.dashboard_attributes import Attributes, save_figures, save_note
from autocompress.study.dashboard_notes import NotedTrial, study_note, trial_note
from autocompress.study.queries import read_conditions, read_end_times, read_facts, read_reference, read_rows
from autocompress.study.retries import with_retries
from autocompress.study.study_connection import StudyConnection
from autocompress.study.study_view import mark_front


class NoteWriter:
    """Writes the notes of a study's trials, and the note and plots of its page."""

    def __init__(self, connection: StudyConnection) -> None:
        self._connection = connection

    def read_trial(self, number: int) -> NotedTrial:
        """Read what the note of a trial shows."""
        return self._connection.read(partial(self._noted_trial, number))

    def write_trial(self, noted: NotedTrial, before: Attributes | None = None, standing: str | None = None) -> None:
        """Write the note of a trial, with its `standing` among the promotions as the reason where one is known.

        `before`: Optuna's attributes of the study, where they were read already.
        """
        connection = self._connection
        noted = noted if standing is None else replace(noted, row=replace(noted.row, reason=standing))
        note = trial_note(connection.plan.study, noted, connection.constraints)
        with_retries(lambda: save_note(connection.optuna_storage, connection.optuna_id, noted.trial_id, note, before))

    def write_study(self, seconds: float) -> None:
        """Write the study's note and plots, and the standings of all trials; `seconds`: the used time of the study."""
        connection = self._connection
        objectives, constraints = connection.plan.objectives, connection.constraints
        unmarked, reference = connection.read(self._rows_and_reference)
        rows = mark_front(unmarked, objectives, constraints)
        before = with_retries(lambda: connection.optuna_storage.get_study_system_attrs(connection.optuna_id))
        for number, standing in standings(rows, reference, constraints).items():
            self.write_trial(self.read_trial(number), before, standing)
        teacher = next((row for row in rows if row.trial == 0), None)
        facts = connection.read(partial(read_facts, ac_study_id=connection.ac_id, number=0))
        note = study_note(connection.plan.study, rows, teacher, TeacherWarning.from_facts(facts))
        with_retries(lambda: save_note(connection.optuna_storage, connection.optuna_id, None, note))
        ended = connection.read(partial(read_end_times, ac_study_id=connection.ac_id))
        growth_steps = growth(rows, ended, objectives, constraints, reference)
        with_retries(
            lambda: save_figures(
                connection.optuna_storage,
                connection.optuna_id,
                rows,
                growth_steps,
                seconds,
                FineTuningRecord.from_facts(facts),
            )
        )

    def _noted_trial(self, number: int, session: Session) -> NotedTrial:
        connection = self._connection
        study = connection.study_row(session)
        rows = read_rows(session, study, 0, number)
        candidate = find_candidate(session, connection.ac_id, number)
        assert candidate is not None  # it was begun
        return NotedTrial(
            trial_id=candidate.trial_id,
            row=rows[-1],
            teacher=rows[0] if rows[0].trial == 0 else None,
            conditions=read_conditions(session, connection.ac_id, number),
            facts=candidate.facts,
            stages=candidate.stages,
            other_devices={
                device: read_rows(session, study, number, device=device)[0] for device in connection.plan.others
            },
        )

    def _rows_and_reference(self, session: Session) -> tuple[list[TrialRow], Reference | None]:
        study = self._connection.study_row(session)
        return read_rows(session, study), read_reference(study)
