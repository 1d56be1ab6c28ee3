"""Refresh a chosen model: go on training it against another teacher, or on other data, and compare it with what it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from autocompress.actions.compare import TrialLocation, compare_trials
from autocompress.actions.export import check_trial, plan_of_training, rebuild_measured
from autocompress.actions.inspect_data import split_files
from autocompress.actions.locate import StudyLocation
from autocompress.config import LAST_RUNG, read_plan, study_file
from autocompress.config.paths import model_path
from autocompress.config.yaml_documents import read_mapping
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.json_types import Json
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.search.display import Display
from autocompress.selection import Comparison
from autocompress.study import StudyView

TIME_SHARE = 0.1  # of the search's time
LEAST_SECONDS = 60.0
STORED = ("teacher", "task", "objectives", "seed")  # keys whose values are those that the study was begun with


@dataclass(frozen=True, kw_only=True)
class RefreshRequest:
    """What is to be refreshed, against what."""

    study: StudyLocation
    trial: int
    teacher: str | None = None  # a folder or hub name; null: the study's own
    data: Path | None = None  # a file of training rows, or a folder with one file per split; null: the study's own
    seconds: float | None = None  # null: a tenth of the search's time
    name: str | None = None  # of the new study; null: STUDY-refreshed


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """The model as it was and as it is now, in a study of its own, on the same rows of the test split."""

    study: StudyLocation
    origin: tuple[str, int]  # study and trial that the model comes from
    comparison: Comparison  # a: as it was, b: refreshed
    seconds: float  # of the new study

    @property
    def verdict(self) -> Literal["new", "old", "open"]:
        """Which one is better, where the interval of their difference can tell."""
        low, high = self.comparison.drop_interval
        return "new" if high < 0 else "old" if low > 0 else "open"

    def as_json(self) -> Json:
        """Return plain JSON types."""
        return {
            "study": self.comparison.study_b, "of": {"study": self.origin[0], "trial": self.origin[1]},
            "old": self.comparison.a.as_json(), "new": self.comparison.b.as_json(), "verdict": self.verdict,
            "comparison": self.comparison.as_json(), "seconds": self.seconds,
        }  # fmt: skip


def begin_refresh(request: RefreshRequest, display: Display, offline: bool = False) -> Path:
    """Write the candidate and the study file of a refresh, where they do not exist yet; return the file.

    UsageError where neither teacher nor data are new, for a trial without a model, and where a study of that name refreshes
    something else.
    """
    if request.teacher is None and request.data is None:
        raise UsageError("refresh: what is new? Name a teacher with --teacher, data with --data, or both")
    view = request.study.view()
    row, file = view.row(request.trial), study_file(request.study.typed)
    if changes := request.study.changes():
        raise UsageError(
            f"refresh: {changes[0]}, so the model cannot be made again; restore that, and give the new files to --teacher or"
            " --data under another name"
        )
    if row.trial == 0:
        raise UsageError("--trial 0: that is the teacher itself; name a model that was made from it")
    check_trial(row, request.study.store(view))
    name = request.name or f"{view.name}-refreshed"
    target, folder = file.with_name(f"{name}{file.suffix}"), file.parent / name / "start"
    document = _write_document(request, view, file, name)
    if target.exists() and _without_budget(read_mapping(target, "study file")) != _without_budget(document):
        raise UsageError(f"{target} exists and says something else; give this refresh another name with --name")
    if not folder.is_dir():
        _save_candidate(request.study, view, row, folder, display, offline)
    if not target.exists():
        head = f"# Trial {row.trial} of the study {view.name}, {row.recipe.describe()}, refreshed.\n"
        target.write_text(head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return target


def finish_refresh(request: RefreshRequest, file: Path, display: Display, offline: bool = False) -> Refreshed:
    """Compare the model as it was with the refreshed one, after the search of the refresh's study has ended.

    AutocompressError where one of them could not be made.
    """
    from autocompress.search.final_evaluation import measure_tests

    plan = read_plan(file, storage=request.study.storage)
    located = StudyLocation(typed=str(file), storage=request.study.storage, url=plan.storage, name=plan.study)
    view = located.view()
    old, new = (_find_trial(view, rung) for rung in (0, LAST_RUNG))
    measure_tests(located.plan("refresh"), [old.trial, new.trial], display=display, offline=offline)
    comparison = compare_trials(TrialLocation(located, old.trial), TrialLocation(located, new.trial), display)
    origin = request.study.view().name, request.trial
    return Refreshed(study=located, origin=origin, comparison=comparison, seconds=view.seconds)


def refresh_seconds(request: RefreshRequest) -> float:
    """Return the time that a refresh plans with, in seconds; a new fine-tuning of the teacher comes on top."""
    return request.seconds or max(LEAST_SECONDS, TIME_SHARE * request.study.view().seconds)


def _find_trial(view: StudyView, rung: int) -> TrialRow:
    rows = [row for row in view.rows if row.trial and row.rung == rung]
    complete = [row for row in rows if row.state == "complete"]
    if not complete:
        reasons = "; ".join(f"trial {row.trial} {row.state}: {row.reason}" for row in rows) or "it was not run"
        what = "as it was" if rung == 0 else "refreshed"
        raise AutocompressError(f"study {view.name!r} has no model {what} ({reasons}); run the same command again")
    return complete[-1]


def _save_candidate(
    located: StudyLocation, view: StudyView, row: TrialRow, folder: Path, display: Display, offline: bool
) -> None:
    """Write a trial's candidate, whose weights give the outputs of its measured artifact."""
    from autocompress.search.earlier_candidate import read_teacher_form, save_earlier_candidate
    from autocompress.search.stage_timer import StageTimer

    def report(stage: str, done: float) -> None:
        display.stage(0, row.trial, row.describe(), stage, done)

    plan = plan_of_training(located, view, "refresh")
    pipeline, candidate = rebuild_measured(plan, row, located.store(view), report)
    form = read_teacher_form(plan.teacher.model, pipeline.context.data.splits.label_names, offline)
    structure = pipeline.context.structure(row.recipe, StageTimer(report))
    save_earlier_candidate(
        folder, candidate, structure, study=view.name, trial=row.trial, sha256=str(row.sha256), teacher=form
    )


def _write_document(request: RefreshRequest, view: StudyView, file: Path, name: str) -> Json:
    """Return the study file of a refresh: that of the study, with its one recipe, and another teacher or data."""
    document = read_mapping(file, "study file")
    stored: Json = {key: _without_nulls(view.plan[key]) for key in STORED if key in view.plan}
    document = {"study": name, **{key: value for key, value in document.items() if key != "study"}, **stored}
    seconds = refresh_seconds(request)
    if request.teacher is not None:
        document["teacher"] = {
            "model": _written_path(model_path(request.teacher, Path.cwd(), "--teacher"), file.parent)
        }
    elif view.fine_tuning is not None:
        seconds += view.fine_tuning.seconds
    if request.data is not None:
        splits = {split: _written_path(str(path), file.parent) for split, path in split_files(request.data).items()}
        document["task"] = {**document["task"], "data": {**document["task"]["data"], **splits}}
    document["space"] = _only(view.row(request.trial).recipe, view.plan["space"])
    document["budget"] = {"time": f"{seconds:.0f}s"}
    document["engine"] = {
        **(document.get("engine") or {}),
        "supernet": False,
        "refit": False,
        "rungs": True,
        "starters": False,
    }
    document["start"] = f"./{name}/start"
    document.setdefault("storage", f"sqlite:///{view.name}/study.db")
    artifacts = document.get("artifacts")
    if isinstance(artifacts, dict) and artifacts.get("path"):
        document["artifacts"] = {**artifacts, "path": f"{artifacts['path']}-{name}"}
    return document


def _without_nulls(value: object) -> object:
    """Return a section as a user would write it: without the keys that are left open."""
    if not isinstance(value, Mapping):
        return value
    return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None and entry != {}}


def _without_budget(document: Json) -> Json:
    """Return what identifies a refresh: the earlier study may have gone on since, and its time is more."""
    return {key: value for key, value in document.items() if key != "budget"}


def _only(recipe: Recipe, space: Mapping[str, object]) -> Json:
    """Return the space that holds only one recipe of a space."""
    return {name: value for name, value in recipe.as_dict().items() if name in space and value is not None}


def _written_path(path: str, folder: Path) -> str:
    """Return a local path as it stands in a study file in `folder`; other names as they are."""
    if not Path(path).exists():
        return path
    relative = os.path.relpath(Path(path).absolute(), folder.absolute())
    return relative if relative.startswith("..") else f"./{relative}"
