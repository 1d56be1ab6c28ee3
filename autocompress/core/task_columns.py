"""What a study file must know of a task: the roles of its columns, and the metric that is meant where it names none.

The files of `tasks` hand these declarations over, since the floors forbid `config` to import them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from autocompress.core.registry import Registry

DEFAULT_TASK = (
    "text-classification"  # of study files that name no kind, and of artifacts whose recipe.json names no task
)


@dataclass(frozen=True)
class Column:
    """What the column of one role holds, and its usual name."""

    holds: str  # e.g. "the text"
    default: str | None = None  # null: without a name in the study file there is no such column
    is_required: bool = True


class TaskDeclaration:
    """The part of a task that a study file is checked against."""

    name: ClassVar[str]  # as in study files: that of transformers' pipeline
    columns: ClassVar[Mapping[str, Column]]  # by role
    default_metric: ClassVar[str]

    def column(self, columns: Mapping[str, str | None], role: str) -> str | None:
        """Return the name of a role's column, given `task.columns` of a study file; null where there is none."""
        name = columns.get(role)
        return self.columns[role].default if name is None else name


DECLARATIONS = Registry("tasks", "TASK", TaskDeclaration)


def task_names() -> list[str]:
    """Return the names of all tasks, as study files write them."""
    return [name.replace("_", "-") for name in DECLARATIONS.names()]


def load_declaration(name: str) -> TaskDeclaration:
    """Return the declaration of a task; an unknown name is a UsageError."""
    return DECLARATIONS.load(name.replace("-", "_"))
