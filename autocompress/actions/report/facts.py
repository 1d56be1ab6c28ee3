"""What a report tells, gathered from the database, the kept logits and the data. Nothing is run for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autocompress.actions.locate import StudyLocation
from autocompress.actions.report.ablation import DecisionEffect
from autocompress.config import StudyPlan
from autocompress.core import registry
from autocompress.core.errors import AutocompressError
from autocompress.core.trial_row import TrialRow
from autocompress.models.model_config import read_config
from autocompress.selection import growth, mcnemar
from autocompress.storage.artifact_store import Store
from autocompress.study import StudyView
from autocompress.study.decision_importance import explained_variance
from autocompress.study.trial_details import TrialDetails, read_ends, read_trial_details

MOST_EXAMPLES = 20


@dataclass(frozen=True, kw_only=True)
class ByLabel:
    """The rows of one label on the test split."""

    label: str
    rows: int
    teacher_right: int
    right: int
    lost: int  # that the teacher gets right, and the model does not
    won: int  # the other way round


@dataclass(frozen=True, kw_only=True)
class Example:
    """A test row on which the model and its teacher disagree."""

    text: str
    label: str
    teacher: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A model of the front, and the teacher, on the same rows."""

    row: TrialRow
    disagreement: float | None = None  # fraction of the test rows; null where its logits were not kept
    p_value: float | None = None  # McNemar's, against the teacher


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """All that the page tells."""

    view: StudyView
    finalists: tuple[Finalist, ...]
    chosen: TrialRow
    details: TrialDetails  # of the chosen one
    teacher: TrialDetails
    growth: tuple[tuple[float, float], ...]  # seconds of the study, hypervolume on validation
    importances: dict[str, dict[str, float]]  # objective -> decision -> share of its variance
    by_label: tuple[ByLabel, ...]  # empty where the logits were not kept
    examples: tuple[Example, ...] | None  # null: left out on purpose
    rows: Mapping[str, int]  # split -> rows; empty where the data are not at hand
    supernet: bool  # whether candidates were cut from one
    shares: tuple[DecisionEffect, ...] | None = None  # null where they were not asked for


def gather(located: StudyLocation, trial: int, device: str | None = None, examples: bool = True) -> ReportData:
    """Of a study and one of its trials. UsageError for a trial that is unknown or not complete."""
    view = located.view(device)
    chosen, store = view.row(trial), located.store(view)
    plan = located.plan("report")
    data = _data(plan, view)
    details = read_trial_details(located.url, located.name, trial, device)
    logits = {row.trial: _kept(store, row.sha256, details) for row in (*view.front, chosen, *_teacher(view))}
    labels = None if data is None else data.test.labels
    ends = read_ends(located.url, located.name)
    finalists = [_finalist(row, logits, labels) for row in sorted(view.front, key=lambda row: -(row.latency_ms or 0.0))]
    return ReportData(
        view=view,
        finalists=tuple(finalists),
        chosen=chosen,
        details=details,
        teacher=read_trial_details(located.url, located.name, 0, device),
        growth=tuple(growth(view.rows, ends, view.objectives, view.constraints, view.reference)),
        importances=explained_variance(view.rows, view.objectives),
        by_label=tuple(_by_label(data, logits.get(0), logits.get(trial))),
        examples=tuple(_examples(data, logits.get(0), logits.get(trial))) if examples else None,
        supernet=plan.engine.supernet,
        rows={} if data is None else {split: len(getattr(data, split)) for split in ("train", "validation", "test")},
    )


def _teacher(view: StudyView) -> list[TrialRow]:
    return [view.teacher] if view.teacher else []


def _data(plan: StudyPlan, view: StudyView) -> Any:
    """The rows of the study; null where they are not at hand any more, or not the same."""
    try:
        config = read_config(plan.teacher.model, plan.place("teacher.model"), True)
        return registry.load("tasks", plan.task.kind.replace("-", "_")).read(plan, config.id2label)
    except AutocompressError:
        return None


def _kept(store: Store, sha256: str | None, details: TrialDetails) -> np.ndarray | None:
    """Logits (rows, labels) of an artifact on the test split, from the device of `details`, where the store still has them."""
    told = details.outcome.measurement.conditions if details.outcome.measurement else {}
    where = {name: told[name] for name in ("cpu", "threads", "batch", "runtime_version") if name in told}
    folder = store.find("outputs", artifact=sha256, split="test", **where)
    return None if folder is None else np.asarray(np.load(folder / "logits.npy"))


def _finalist(row: TrialRow, logits: Mapping[int, np.ndarray | None], labels: np.ndarray | None) -> Finalist:
    own, teachers = logits.get(row.trial), logits.get(0)
    if own is None or teachers is None or labels is None or len(labels) != len(own):
        return Finalist(row=row)
    right, teacher_right = own.argmax(-1) == labels, teachers.argmax(-1) == labels
    return Finalist(
        row=row,
        disagreement=float((own.argmax(-1) != teachers.argmax(-1)).mean()),
        p_value=mcnemar(int((teacher_right & ~right).sum()), int((right & ~teacher_right).sum())),
    )


def _by_label(data: Any, teachers: np.ndarray | None, own: np.ndarray | None) -> list[ByLabel]:
    if data is None or teachers is None or own is None or len(own) != len(data.test):
        return []
    labels = data.test.labels
    right, teacher_right = own.argmax(-1) == labels, teachers.argmax(-1) == labels
    return [
        ByLabel(
            label=name,
            rows=int((labels == number).sum()),
            teacher_right=int(teacher_right[labels == number].sum()),
            right=int(right[labels == number].sum()),
            lost=int((teacher_right & ~right)[labels == number].sum()),
            won=int((right & ~teacher_right)[labels == number].sum()),
        )
        for number, name in enumerate(data.label_names)
    ]


def _examples(data: Any, teachers: np.ndarray | None, own: np.ndarray | None) -> list[Example]:
    """Where they disagree; those first of which both are surest."""
    if data is None or teachers is None or own is None or len(own) != len(data.test):
        return []
    predicted, expected = own.argmax(-1), teachers.argmax(-1)
    rows = np.flatnonzero(predicted != expected)
    gap = [
        _margin(own[row], predicted[row], expected[row]) + _margin(teachers[row], expected[row], predicted[row])
        for row in rows
    ]
    names, test = data.label_names, data.test
    return [
        Example(
            text=test.texts[row] if test.pairs is None else f"{test.texts[row]} ¦ {test.pairs[row]}",
            label=names[test.labels[row]], teacher=names[expected[row]], model=names[predicted[row]],
        )
        for row in rows[np.argsort(gap)[::-1][:MOST_EXAMPLES]]
    ]  # fmt: skip


def _margin(logits: np.ndarray, one: int, other: int) -> float:
    return float(logits[one] - logits[other])
