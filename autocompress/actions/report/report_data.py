"""Gather the content of a report from the database, the stored outputs and the data. Runs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autocompress.actions.locate import StudyLocation
from autocompress.actions.report.ablation import DecisionEffect
from autocompress.config import StudyPlan
from autocompress.core.errors import AutocompressError
from autocompress.core.trial_row import TrialRow
from autocompress.data.ragged import Ragged, load_outputs
from autocompress.models.model_config import read_config
from autocompress.selection import growth, mcnemar
from autocompress.storage.artifact_store import Store
from autocompress.study import StudyView
from autocompress.study.decision_importance import explained_variance
from autocompress.study.trial_details import TrialDetails, read_ends, read_trial_details
from autocompress.tasks import SPLITS, ResultTable, SplitOutputs, Task, TaskData, Tokens, load_task

MOST_EXAMPLES = 20


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A model of the front beside the teacher, on the same rows."""

    row: TrialRow
    disagreement: float | None = None  # fraction of the test rows; null without stored outputs
    p_value: float | None = None  # McNemar's, against the teacher; null also where the task knows no right and wrong


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
    difference: str  # between the predictions of a row, in words
    has_outputs: bool  # whether the outputs on the test rows were kept, and these rows can be read
    results: ResultTable | None  # null also where the task has no such table
    examples: ResultTable | None  # null also where the user does not want texts on the page
    shows_texts: bool  # whether the user wants them
    rows: Mapping[str, int]  # split -> rows; empty where the data are not at hand
    supernet: bool  # whether candidates were cut from one
    effects: tuple[DecisionEffect, ...] | None = None  # null: not measured


def gather(located: StudyLocation, trial: int, device: str | None = None, examples: bool = True) -> ReportData:
    """Gather a study and one of its trials. Raises UsageError for an unknown or incomplete trial."""
    view = located.checked_view(device)
    chosen, store = view.row(trial), located.store(view)
    plan = located.plan("report")
    rows = _read_rows(plan)
    details = read_trial_details(located.url, located.name, trial, device)
    teachers = [view.teacher] if view.teacher else []
    outputs = {row.trial: _stored_outputs(store, row.sha256, details) for row in (*view.front, chosen, *teachers)}
    shown = None if rows is None else rows.outputs(outputs.get(0), outputs.get(trial))
    ends = read_ends(located.url, located.name)
    slowest_first = sorted(view.front, key=lambda row: -(row.latency_ms or 0.0))
    return ReportData(
        view=view,
        finalists=tuple(_finalist(row, rows, outputs) for row in slowest_first),
        chosen=chosen,
        details=details,
        teacher=read_trial_details(located.url, located.name, 0, device),
        growth=tuple(growth(view.rows, ends, view.objectives, view.constraints, view.reference)),
        importances=explained_variance(view.rows, view.objectives),
        difference=load_task(plan.task.kind).difference,
        has_outputs=shown is not None,
        results=None if rows is None or shown is None else rows.task.result_table(shown),
        examples=rows.task.example_table(shown, MOST_EXAMPLES) if rows and shown and examples else None,
        shows_texts=examples,
        supernet=plan.engine.supernet,
        rows={} if rows is None else {split: len(rows.data.split(split)) for split in SPLITS},
    )


@dataclass(frozen=True)
class _ReportRows:
    """The rows of a study, and the tokens of the test rows where outputs are those of tokens."""

    task: Task
    data: TaskData
    tokens: Tokens

    def outputs(self, teacher: Ragged | None, model: Ragged | None) -> SplitOutputs | None:
        """Return the outputs of both on the test rows; null where one is not kept, or is of other rows."""
        inputs = self.task.count_inputs(self.data.test)
        if teacher is None or model is None or {len(teacher), len(model)} != {inputs}:
            return None
        if self.task.has_token_outputs and teacher.counts.tolist() != self.tokens.labels.counts.tolist():
            return None
        return SplitOutputs(self.data.test, self.tokens, self.data.label_names, teacher, model)


def _read_rows(plan: StudyPlan) -> _ReportRows | None:
    """Return the rows of the study; null where they are no longer at hand."""
    try:
        config = read_config(plan.teacher.model, plan.place("teacher.model"), True)
        task = load_task(plan.task.kind)
        data = task.read(plan, config.id2label)
        return _ReportRows(task, data, _test_tokens(plan, task, data))
    except AutocompressError:
        return None


def _test_tokens(plan: StudyPlan, task: Task, data: TaskData) -> Tokens:
    """Return the tokens of the test rows; without token ids, which takes no time, where no output is a token's."""
    if not task.has_token_outputs:
        return Tokens((), None, data.test.labels)
    from autocompress.models.teacher import load_tokenizer

    tokenizer = load_tokenizer(plan.teacher.model, offline=True, reads_words=task.reads_words)
    return task.tokenize(data.test, tokenizer, plan.task.max_tokens)


def _stored_outputs(store: Store, sha256: str | None, details: TrialDetails) -> Ragged | None:
    """Return an artifact's stored test outputs, from the device that `details` was measured on."""
    conditions = details.outcome.measurement.conditions if details.outcome.measurement else {}
    names = ("cpu", "threads", "batch", "runtime_version")
    settings = {name: conditions[name] for name in names if name in conditions}
    folder = store.find("outputs", artifact=sha256, split="test", **settings)
    return None if folder is None else load_outputs(folder)


def _finalist(row: TrialRow, rows: _ReportRows | None, outputs: Mapping[int, Ragged | None]) -> Finalist:
    both = None if rows is None else rows.outputs(outputs.get(0), outputs.get(row.trial))
    if rows is None or both is None:
        return Finalist(row=row)
    task = rows.task
    expected, predicted = task.predict(both.teacher, both.tokens), task.predict(both.model, both.tokens)
    truth = task.references(both.tokens, both.teacher)
    teacher_right, right = task.is_right(expected, truth), task.is_right(predicted, truth)
    p_value = None
    if teacher_right is not None and right is not None:
        p_value = mcnemar(int((teacher_right & ~right).sum()), int((right & ~teacher_right).sum()))
    return Finalist(row=row, disagreement=task.disagreement(predicted, expected), p_value=p_value)
