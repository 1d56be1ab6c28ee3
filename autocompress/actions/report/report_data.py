"""Gather the content of a report from the database, the stored logits and the data. Runs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autocompress.actions.locate import StudyLocation
from autocompress.actions.report.ablation import DecisionEffect
from autocompress.config import StudyPlan
from autocompress.core.errors import AutocompressError
from autocompress.core.trial_row import TrialRow
from autocompress.data.ragged import load_outputs
from autocompress.models.model_config import read_config
from autocompress.selection import growth, mcnemar
from autocompress.storage.artifact_store import Store
from autocompress.study import StudyView
from autocompress.study.decision_importance import explained_variance
from autocompress.study.trial_details import TrialDetails, read_ends, read_trial_details
from autocompress.tasks import load_task

MOST_EXAMPLES = 20
StoredLogits = np.ndarray | None  # (rows, labels) on the test split; null where the store no longer has them


@dataclass(frozen=True, kw_only=True)
class LabelResult:
    """The test rows of one label."""

    label: str
    rows: int
    teacher_right: int
    right: int
    lost: int  # the teacher is right and the model is wrong
    won: int  # the model is right and the teacher is wrong


@dataclass(frozen=True, kw_only=True)
class Example:
    """A test row on which the model and its teacher disagree."""

    text: str
    label: str
    teacher: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A model of the front beside the teacher, on the same rows."""

    row: TrialRow
    disagreement: float | None = None  # fraction of the test rows; null without stored logits
    p_value: float | None = None  # McNemar's, against the teacher


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """The content of the page."""

    view: StudyView
    finalists: tuple[Finalist, ...]
    chosen: TrialRow
    details: TrialDetails  # of the chosen trial
    teacher: TrialDetails
    growth: tuple[tuple[float, float], ...]  # seconds of the study, hypervolume on validation
    importances: dict[str, dict[str, float]]  # objective -> decision -> share of its variance
    by_label: tuple[LabelResult, ...]  # empty without stored logits
    examples: tuple[Example, ...] | None  # null: the user does not want them on the page
    rows: Mapping[str, int]  # split -> rows; empty where the data are not at hand
    supernet: bool  # whether candidates were cut from one
    effects: tuple[DecisionEffect, ...] | None = None  # null: not measured


def gather(located: StudyLocation, trial: int, device: str | None = None, examples: bool = True) -> ReportData:
    """Gather a study and one of its trials. Raises UsageError for an unknown or incomplete trial."""
    view = located.view(device)
    chosen, store = view.row(trial), located.store(view)
    plan = located.plan("report")
    data = _read_data(plan, view)
    details = read_trial_details(located.url, located.name, trial, device)
    teachers = [view.teacher] if view.teacher else []
    logits = {row.trial: _stored_logits(store, row.sha256, details) for row in (*view.front, chosen, *teachers)}
    labels = None if data is None else data.test.labels.values
    ends = read_ends(located.url, located.name)
    slowest_first = sorted(view.front, key=lambda row: -(row.latency_ms or 0.0))
    return ReportData(
        view=view,
        finalists=tuple(_finalist(row, logits, labels) for row in slowest_first),
        chosen=chosen,
        details=details,
        teacher=read_trial_details(located.url, located.name, 0, device),
        growth=tuple(growth(view.rows, ends, view.objectives, view.constraints, view.reference)),
        importances=explained_variance(view.rows, view.objectives),
        by_label=tuple(_results_by_label(data, logits.get(0), logits.get(trial))),
        examples=tuple(_disagreements(data, logits.get(0), logits.get(trial))) if examples else None,
        supernet=plan.engine.supernet,
        rows={} if data is None else {split: len(getattr(data, split)) for split in ("train", "validation", "test")},
    )


def _read_data(plan: StudyPlan, view: StudyView) -> Any:
    """Return the rows of the study; null where they are no longer at hand."""
    try:
        config = read_config(plan.teacher.model, plan.place("teacher.model"), True)
        return load_task(plan.task.kind).read(plan, config.id2label)
    except AutocompressError:
        return None


def _stored_logits(store: Store, sha256: str | None, details: TrialDetails) -> StoredLogits:
    """Return an artifact's stored test logits, from the device that `details` was measured on."""
    conditions = details.outcome.measurement.conditions if details.outcome.measurement else {}
    names = ("cpu", "threads", "batch", "runtime_version")
    settings = {name: conditions[name] for name in names if name in conditions}
    folder = store.find("outputs", artifact=sha256, split="test", **settings)
    return None if folder is None else load_outputs(folder).values


def _finalist(row: TrialRow, logits: Mapping[int, StoredLogits], labels: np.ndarray | None) -> Finalist:
    model, teacher = logits.get(row.trial), logits.get(0)
    if model is None or teacher is None or labels is None or len(labels) != len(model):
        return Finalist(row=row)
    right, teacher_right = model.argmax(-1) == labels, teacher.argmax(-1) == labels
    return Finalist(
        row=row,
        disagreement=float((model.argmax(-1) != teacher.argmax(-1)).mean()),
        p_value=mcnemar(int((teacher_right & ~right).sum()), int((right & ~teacher_right).sum())),
    )


def _results_by_label(data: Any, teacher: StoredLogits, model: StoredLogits) -> list[LabelResult]:
    if data is None or teacher is None or model is None or len(model) != len(data.test):
        return []
    labels = data.test.labels.values
    right, teacher_right = model.argmax(-1) == labels, teacher.argmax(-1) == labels
    return [
        LabelResult(
            label=name,
            rows=int((labels == number).sum()),
            teacher_right=int(teacher_right[labels == number].sum()),
            right=int(right[labels == number].sum()),
            lost=int((teacher_right & ~right)[labels == number].sum()),
            won=int((right & ~teacher_right)[labels == number].sum()),
        )
        for number, name in enumerate(data.label_names)
    ]


def _disagreements(data: Any, teacher: StoredLogits, model: StoredLogits) -> list[Example]:
    """Return the rows on which model and teacher disagree, ordered by the sum of both margins, largest first."""
    if data is None or teacher is None or model is None or len(model) != len(data.test):
        return []
    model_labels, teacher_labels = model.argmax(-1), teacher.argmax(-1)
    rows = np.flatnonzero(model_labels != teacher_labels)
    margins = [
        _margin(model[row], model_labels[row], teacher_labels[row])
        + _margin(teacher[row], teacher_labels[row], model_labels[row])
        for row in rows
    ]
    names, test = data.label_names, data.test
    return [
        Example(
            text=test.texts[row] if test.pairs is None else f"{test.texts[row]} ¦ {test.pairs[row]}",
            label=names[test.labels.values[row]],
            teacher=names[teacher_labels[row]],
            model=names[model_labels[row]],
        )
        for row in rows[np.argsort(margins)[::-1][:MOST_EXAMPLES]]
    ]


def _margin(logits: np.ndarray, label: int, rival: int) -> float:
    """Return how far the logit of a label is above that of another label."""
    return float(logits[label] - logits[rival])
