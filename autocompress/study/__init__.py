"""The study database: the only writer (`Study`), and a reader that needs neither Optuna nor torch (`read_study`).

Modules for both: schema (our tables), records (rows and values). For reading: databases (connections), reader, details.
For writing, which needs Optuna: storage, migrations, view (the SQL view `results`), opening, lease (one supervisor per
study), queue (which trial comes next), samplers, ours and optunas (the two halves of a trial), notes (what the dashboard
shows), writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autocompress.study.queries import StudyView, read_study, studies
from autocompress.study.row_mapping import TeacherRecord

if TYPE_CHECKING:
    from autocompress.study.writer import AskedTrial, BudgetSpent, Study

__all__ = ["AskedTrial", "BudgetSpent", "Study", "StudyView", "TeacherRecord", "read_study", "studies"]


def __getattr__(name: str) -> Any:
    """`Study` and its values load Optuna, so they are loaded when they are asked for."""
    if name in ("AskedTrial", "BudgetSpent", "Study"):
        from autocompress.study import writer

        return getattr(writer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
