"""Present studies: JSON documents for programs; tables, sentences and next commands for people. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.actions.card_data import base_name
from autocompress.core.errors import NothingFits
from autocompress.core.teacher_warning import describe_warnings
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces import rendering
from autocompress.interfaces.rendering.tables import split_of
from autocompress.interfaces.terminal import command_line
from autocompress.selection import (
    ComparedFront,
    Explanation,
    FrontComparison,
    NoneFits,
    Picked,
    compare_fronts,
    explain,
    hypervolume,
    pick,
    standings,
)
from autocompress.study import StudyView

if TYPE_CHECKING:
    from rich.console import RenderableType

    from autocompress.actions.locate import StudyLocation

FORMAT_VERSION = 1  # of the JSON documents


class NoTrialFits(NothingFits):
    """No trial satisfies the constraints; holds the nearest trials, and the bounds that would be enough."""

    def __init__(self, none: NoneFits, constraints: Mapping[str, float | None]) -> None:
        super().__init__(rendering.nearest_sentence(none, constraints))
        self.nearest, self.loosened = none.nearest, none.loosened

    def document(self) -> dict[str, object]:
        """Return the JSON document of `pick` where nothing fits."""
        return {
            "trial": None,
            "nearest": {name: row.as_json() for name, row in self.nearest.items()},
            "loosened": rendering.loosened_json(self.loosened),
        }


def choose(view: StudyView, limits: Mapping[str, float], prefer: str | None) -> Picked:
    """Return the best trial under the study's constraints, updated by `limits`. Raises NoTrialFits if there is none."""
    constraints = {**view.constraints, **limits}
    picked = pick(view.rows, constraints, prefer, view.objectives, view.examples)
    if isinstance(picked, NoneFits):
        raise NoTrialFits(picked, constraints)
    return picked


def explain_choice(view: StudyView, picked: Picked, limits: Mapping[str, float], prefer: str | None) -> Explanation:
    """Explain why `choose` returned that trial for the same arguments."""
    constraints = {**view.constraints, **limits}
    return explain(picked, view.rows, constraints, prefer, view.objectives, view.examples)


def compare_studies(a: StudyView, b: StudyView) -> FrontComparison:
    """Compare the fronts of two studies under the smaller of their max_drop."""
    limits = [view.constraints["max_drop"] for view in (a, b) if "max_drop" in view.constraints]
    first, second = (
        ComparedFront(
            study=view.name, rows=view.rows, teacher=view.teacher, examples=view.examples, seconds=view.seconds
        )
        for view in (a, b)
    )
    return compare_fronts(first, second, min(limits, default=None))


def document(view: StudyView, rows: Sequence[TrialRow]) -> dict[str, object]:
    """Return the JSON document of `front` and `trials`."""
    return {
        "study": view.name,
        "teacher": view.teacher.as_json() if view.teacher else None,
        "trials": [row.as_json() for row in rows],
        "hypervolume": hypervolume(view.front, view.reference) if view.reference else 0.0,
        "seconds": view.seconds,
        "warnings": [warning.describe() for warning in view.warnings],
        "format_version": FORMAT_VERSION,
    }


def rows_with_reasons(view: StudyView) -> list[TrialRow]:
    """Return all rows; those without a reason get the reason why they were not trained in full."""
    reasons = standings(view.rows, view.reference, view.constraints)
    return [replace(row, reason=row.reason or reasons.get(row.trial)) for row in view.rows]


def front_parts(view: StudyView) -> list[RenderableType]:
    """Return a picture of the front, its table with the teacher, and a summary."""
    if view.teacher is None:
        return [rendering.front_sentence(view)]
    knee = _knee(view)
    rows = list(view.front)
    if knee is not None and not knee.on_front and _share_split([*rows, view.teacher], knee):
        rows.append(knee)
    trial = None if knee is None else knee.trial
    return [
        rendering.FrontPicture(rows, view.teacher, trial),
        rendering.front_table(rows, view.teacher, metric_of(view), trial),
        rendering.front_sentence(view, knee),
        *(f"warning: {sentence}" for sentence in describe_warnings(view.warnings)),
    ]


def _share_split(rows: Sequence[TrialRow], row: TrialRow) -> bool:
    """Return whether one more row leaves the split, test or validation, that a table of the rows shows."""
    return split_of([*rows, row]) == split_of(rows)


def _knee(view: StudyView) -> TrialRow | None:
    """Return the trial that `pick` names without options, or null."""
    try:
        return choose(view, {}, None).row
    except NoTrialFits:
        return None


def next_steps(located: StudyLocation, view: StudyView) -> list[str]:
    """Return the commands to type next; they work as printed from the current folder."""
    if view.teacher is None:
        return []
    study = located.arguments()
    steps = [command_line(["dashboard", *study])]
    try:
        picked = choose(view, {}, None)
        steps += [command_line(["pick", *study]), export_command(located, view, picked.row.trial)]
    except NoTrialFits:
        steps += [command_line(["trials", *study])]
    return ["\nnext:", *(f"  {step}" for step in steps)]


def export_command(located: StudyLocation, view: StudyView, trial: int) -> str:
    """Return the command that exports a trial into a new folder beside the study's other files."""
    file = Path(located.typed)
    folder = file.parent / view.name if file.suffix in (".yaml", ".yml") else Path(view.name)
    candidates = (folder / f"trial-{trial}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
    to = next(path for path in candidates if not path.exists())
    device = ["--device", view.device] if view.device in view.devices[1:] else []
    return command_line(["export", *located.arguments(), "--trial", str(trial), *device, "--to", to])


def commands(located: StudyLocation, view: StudyView, trial: int) -> dict[str, str]:
    """Return what a user can do with a trial: a description, and the command for it."""
    study = located.arguments()
    return {
        "Export the model as a folder that runs by itself": export_command(located, view, trial),
        "Run the trial again with the same seed and data, and compare": command_line(
            ["reproduce", *study, "--trial", str(trial)]
        ),
        "List all trials, with the reason why each was stopped or failed": command_line(["trials", *study]),
    }


def metric_of(view: StudyView) -> str:
    """Return the name of the study's metric; for a user's own module, the name of its file."""
    return base_name(view.plan["task"]["metric"])
