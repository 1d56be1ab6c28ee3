"""The study database: its only writer (`Study`), and a reader that needs neither Optuna nor torch (`read_study`).

- tables: tables, sql_view (the view `results`), row_mapping, migrations
- reading: connections, reading_session, queries, study_view, trial_details, warm_start
- opening for writing: database, schema_upgrade, retries, lifecycle, lease (one supervisor per study)
- writing: writer (`Study`), study_connection, asking, waiting_trials, queue, samplers, recording, candidate_rows,
  optuna_adapter, orphaned_trials
- the dashboard: note_writer, dashboard_notes, dashboard_attributes, plots, decision_importance
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.study.row_mapping import TeacherRecord
from autocompress.study.study_view import StudyView, read_study, studies

if TYPE_CHECKING:
    from autocompress.study.writer import AskedTrial, BudgetSpent, Study

__all__ = ["AskedTrial", "BudgetSpent", "Study", "StudyView", "TeacherRecord", "read_study", "studies"]


def __getattr__(name: str) -> object:
    """Load `Study` and its values at their first use: they load Optuna."""
    if name in ("AskedTrial", "BudgetSpent", "Study"):
        from autocompress.study import writer

        return getattr(writer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
