"""Recording outcomes and later measurements of trials: in our tables, in Optuna's, and in the dashboard's notes."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from autocompress.core.agreement import Agreement
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome, TrialRow
from autocompress.study import candidate_rows, queue
from autocompress.study.note_writer import NoteWriter
from autocompress.study.optuna_adapter import finish_trial
from autocompress.study.retries import with_retries
from autocompress.study.study_connection import StudyConnection


class TrialRecorder:
    """Records the outcomes of trials. Our rows are written first; Optuna's part can be repeated after an interruption."""

    def __init__(self, connection: StudyConnection, notes: NoteWriter) -> None:
        self._connection, self._notes = connection, notes

    def tell(self, number: int, recipe: Recipe, outcome: Outcome) -> TrialRow:
        """Record the outcome of a trial and return its row; a second call changes nothing."""
        connection = self._connection

        def record(session: Session) -> None:
            row = candidate_rows.find_candidate(session, connection.ac_id, number)
            candidate_rows.record_outcome(session, row, recipe, outcome, connection.constraints)

        connection.write(record)
        return self.finish_optuna_trial(number)

    def finish_optuna_trial(self, number: int) -> TrialRow:
        """Write Optuna's part of a trial that is finished in our tables, and its note; return its row."""
        connection, noted = self._connection, self._notes.read_trial(number)
        study, objectives = connection.optuna_study, connection.plan.objectives
        trial = connection.running.get(number) or queue.trial_object(study, noted.trial_id)
        with_retries(
            lambda: finish_trial(connection.engine, study, trial, noted.row, objectives, connection.constraints)
        )
        self._notes.write_trial(noted, before={})  # the trial has no note yet
        connection.running.pop(number, None)
        return noted.row

    def record_quality(self, number: int, quality: Quality, other_devices: Mapping[str, Quality]) -> None:
        """Record the quality of a complete trial on another split, also on secondary devices; needs no lease."""
        ac_id = self._connection.ac_id

        def record(session: Session) -> None:
            candidate_rows.record_quality(session, ac_id, number, quality)
            for device, device_quality in other_devices.items():
                candidate_rows.record_quality(session, ac_id, number, device_quality, device)

        self._connection.write_without_lease(record)
        self._notes.write_trial(self._notes.read_trial(number))

    def record_agreement(self, number: int, agreement: Agreement) -> None:
        """Record the comparison of a complete trial with the teacher on the agreement rows."""
        ac_id = self._connection.ac_id
        self._connection.write_without_lease(
            lambda session: candidate_rows.record_agreement(session, ac_id, number, agreement)
        )

    def record_other_devices(self, number: int, measurements: Mapping[str, Measurement]) -> None:
        """Record the measurements of a complete trial on secondary devices, by device."""
        ac_id = self._connection.ac_id
        self._connection.write(
            lambda session: candidate_rows.record_other_devices(session, ac_id, number, measurements)
        )
        self._notes.write_trial(self._notes.read_trial(number))
