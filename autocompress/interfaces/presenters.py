"""What the reading commands answer: documents for programs, tables and next steps for people. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.core.errors import NothingFits
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
    """No trial holds the constraints; knows what comes nearest to each, and which of them to loosen by how much."""

    def __init__(self, none: NoneFits, constraints: Mapping[str, float | None]) -> None:
        super().__init__(rendering.nearest_sentence(none, constraints))
        self.nearest, self.loosened = none.nearest, none.loosened

    def document(self) -> dict[str, Any]:
        """The JSON of `pick` where nothing fits."""
        return {
            "trial": None,
            "nearest": {name: row.as_json() for name, row in self.nearest.items()},
            "loosened": rendering.loosened_json(self.loosened),
        }


def choose(view: StudyView, limits: Mapping[str, float], prefer: str | None) -> Picked:
    """The best trial under the study's constraints, of which `limits` replace some. NoTrialFits where there is none."""
    constraints = {**view.constraints, **limits}
    picked = pick(view.rows, constraints, prefer, view.objectives, view.examples)
    if isinstance(picked, NoneFits):
        raise NoTrialFits(picked, constraints)
    return picked


def why(view: StudyView, picked: Picked, limits: Mapping[str, float], prefer: str | None) -> Explanation:
    """Why `choose` named that trial, when it was asked the same."""
    constraints = {**view.constraints, **limits}
    return explain(picked, view.rows, constraints, prefer, view.objectives, view.examples)


def side_by_side(a: StudyView, b: StudyView) -> FrontComparison:
    """Two studies by their fronts, under the tighter of their limits for the drop."""
    limits = [view.constraints["max_drop"] for view in (a, b) if "max_drop" in view.constraints]
    first, second = (
        ComparedFront(
            study=view.name, rows=view.rows, teacher=view.teacher, examples=view.examples, seconds=view.seconds
        )
        for view in (a, b)
    )
    return compare_fronts(first, second, min(limits, default=None))


def document(view: StudyView, rows: Sequence[TrialRow]) -> dict[str, Any]:
    """The JSON of `front` and `trials`."""
    return {
        "study": view.name,
        "teacher": view.teacher.as_json() if view.teacher else None,
        "trials": [row.as_json() for row in rows],
        "hypervolume": hypervolume(view.front, view.reference) if view.reference else 0.0,
        "seconds": view.seconds,
        "format_version": FORMAT_VERSION,
    }


def explained(view: StudyView) -> list[TrialRow]:
    """All rows; those that were not trained in full say why, where nothing else is the reason."""
    why = standings(view.rows, view.reference, view.constraints)
    return [replace(row, reason=row.reason or why.get(row.trial)) for row in view.rows]


def front_parts(view: StudyView) -> list[RenderableType]:
    """The front as a picture and as a table beside the teacher, and a line on what it is of."""
    if view.teacher is None:
        return [rendering.front_sentence(view)]
    knee = _knee(view)
    rows = list(view.front)
    if (
        knee is not None
        and not knee.on_front
        and split_of([*rows, view.teacher, knee]) == split_of([*rows, view.teacher])
    ):
        rows.append(knee)
    number = None if knee is None else knee.trial
    picture = rendering.FrontPicture(rows, view.teacher, number)
    return [
        picture,
        rendering.front_table(rows, view.teacher, metric_of(view), number),
        rendering.front_sentence(view, knee),
    ]


def _knee(view: StudyView) -> TrialRow | None:
    """What `pick` names where nothing else is asked, or null."""
    try:
        return choose(view, {}, None).row
    except NoTrialFits:
        return None


def next_steps(located: StudyLocation, view: StudyView) -> list[str]:
    """The commands to type next, which work exactly as printed from the current folder."""
    if view.teacher is None:
        return []
    words = located.words()
    steps = [command_line(["dashboard", *words])]
    try:
        picked = choose(view, {}, None)
        steps += [command_line(["pick", *words]), export_command(located, view, picked.row.trial)]
    except NoTrialFits:
        steps += [command_line(["trials", *words])]
    return ["\nnext:", *(f"  {step}" for step in steps)]


def export_command(located: StudyLocation, view: StudyView, trial: int) -> str:
    """The command that exports a trial into a folder that is not there yet, beside what else the study wrote."""
    file = Path(located.typed)
    folder = file.parent / view.name if file.suffix in (".yaml", ".yml") else Path(view.name)
    names = (folder / f"trial-{trial}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
    to = next(path for path in names if not path.exists())
    device = ["--device", view.device] if view.device in view.devices[1:] else []
    return command_line(["export", *located.words(), "--trial", str(trial), *device, "--to", to])


def commands(located: StudyLocation, view: StudyView, trial: int) -> dict[str, str]:
    """What one does with a trial, in words, and the command for it."""
    words = located.words()
    return {
        "The model as a folder that runs by itself": export_command(located, view, trial),
        "Trained again from the same seed and data, and compared": command_line(
            ["reproduce", *words, "--trial", str(trial)]
        ),
        "All trials, with the reason of each stop": command_line(["trials", *words]),
    }


def metric_of(view: StudyView) -> str:
    """The name of the study's metric."""
    return base_name(view.plan["task"]["metric"])


def base_name(metric: str) -> str:
    """A metric's name; of a module of the user's own, its file's."""
    return Path(metric).stem
