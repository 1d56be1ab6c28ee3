"""Check a plan before any work starts: storage, teacher, space, runtimes, data. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from autocompress import metrics
from autocompress.benchmarking.backends import open_backend
from autocompress.config import AutoFineTune, StudyPlan, check_storage
from autocompress.core.domain import Anatomy
from autocompress.core.errors import DeviceLost, UsageError
from autocompress.core.formatting import points
from autocompress.data.source_files import TEACHER, changed_sources
from autocompress.models.model_config import ModelConfig, read_config
from autocompress.search.earlier_candidate import read_earlier_candidate, read_teacher_form
from autocompress.search.family_check import check_family
from autocompress.search.final_evaluation_time import FinalRows
from autocompress.search.fine_tuning_length import FINE_TUNING_SHARE, LEAST_STOP_ROWS, PROBED_ROWS, stop_rows
from autocompress.search.row_conflicts import describe_conflicts
from autocompress.search.tokenizer_check import check_normalization, check_tokens
from autocompress.selection import choice_precision
from autocompress.space.parsing import resolve_space
from autocompress.space.space import Space
from autocompress.study import Study
from autocompress.study.trial_details import read_trial_details
from autocompress.tasks import Task, TaskData, load_task
from autocompress.tasks._sentence_pooling import has_pooling

AGREEMENT_ROWS = 4000  # at most, if the study file names no number
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CheckedPlan:
    """What the check of a plan found."""

    plan: StudyPlan  # with `fine_tune: auto` where it names no settings and the model does not do the task yet
    space: Space
    fingerprint: str  # of the rows
    rows: FinalRows = field(default_factory=FinalRows)
    lost: DeviceLost | None = None  # the error of an unreachable secondary device
    limits: str | None = None  # one sentence about what of the teacher cannot be searched
    choice: str | None = None  # one sentence about how well the study will be able to choose


def prepare(plan: StudyPlan, offline: bool) -> CheckedPlan:
    """Check a plan. UsageError where it cannot be run; DeviceLost where the main device is unreachable."""
    plan = complete_plan(plan, offline)
    config = read_config(plan.teacher.model, plan.place("teacher.model"), offline)
    _check_start_form(plan, None, offline)
    lost: DeviceLost | None = None
    for key_path, device in plan.by_key_path.items():  # what is proposed must run on all of them
        backend = open_backend(device, plan.place(key_path))
        try:
            supported = backend.supported()
        except DeviceLost as error:
            if device == plan.device:
                raise
            lost = error
            continue
        runner = device.runtime + (f" on {key_path.partition('.')[2]}" if plan.devices else "")
        space = resolve_space(plan.space, Anatomy(config.layers), supported, plan.place("space"), runner)
    check_family(space, config, plan.place("space"))
    if plan.task.max_tokens > config.positions:
        raise UsageError(
            f"{plan.place('task.max_tokens')}: got {plan.task.max_tokens}, but the model reads at most {config.positions}"
            " tokens; lower it"
        )
    check_tokens(space, load_task(plan.task.kind, plan.place("task.kind")), plan.place("space"))
    check_normalization(space, plan.teacher.model, plan.place("space"), offline)
    data = _check_task(plan, config, offline)
    _check_start(plan, space, data, offline)
    check_storage(plan.storage)  # last, since it makes a folder
    return CheckedPlan(
        plan=plan,
        space=space,
        fingerprint=data.fingerprint,
        rows=FinalRows(len(data.validation), len(data.test), 0 if data.agreement is None else len(data.agreement)),
        lost=lost,
        limits=config.describe_limits(),
        choice=_describe_choice(plan, data),
    )


def complete_plan(plan: StudyPlan, offline: bool) -> StudyPlan:
    """Return the plan of a new study: with agreement rows, and settings of fine-tuning where the model needs them."""
    return _choose_fine_tuning(plan.with_agreement_rows(AGREEMENT_ROWS), offline)


def _choose_fine_tuning(plan: StudyPlan, offline: bool) -> StudyPlan:
    """Return the plan with `fine_tune: auto` where it names no settings and the model does not do the task yet.

    A search for settings without a time gets its share of the budget, and it begins with a linear probe of the labels.
    """
    settings, task = plan.teacher.fine_tune, load_task(plan.task.kind, plan.place("task.kind"))
    if settings is None:
        config = read_config(plan.teacher.model, plan.place("teacher.model"), offline)
        if task.has_head(config.architectures, config.outputs):
            return plan
        settings = AutoFineTune()
    if not isinstance(settings, AutoFineTune):
        return plan
    if settings.time is None and plan.budget.time is not None:
        settings = settings.model_copy(update={"time": FINE_TUNING_SHARE * plan.budget.time})
    if settings.linear_probe_rows is None and task.predicts == "labels":
        settings = settings.model_copy(update={"linear_probe_rows": PROBED_ROWS})
    return plan.with_fine_tuning(settings)


def _check_task(plan: StudyPlan, config: ModelConfig, offline: bool) -> TaskData:
    """Return the rows; UsageError where task, metric, model and rows do not fit together."""
    task, place = load_task(plan.task.kind, plan.place("task.kind")), plan.place("task.metric")
    metric: metrics.Metric | None = None
    if plan.task.metric in metrics.METRICS.names():  # a user's own metric is loaded later: it may need torch
        metric = metrics.load_metric(plan.task.metric)
        metrics.check_fit(metric, task.predicts, task.name, place)
    task.check_teacher(plan, config.outputs, offline)
    _check_silver_pairs(plan, task, offline)
    _check_linear_probe(plan, task)
    _check_unlabelled_columns(plan, task)
    data = task.read(plan, config.id2label)
    if metric is not None:
        metrics.check_label_names(metric, data.label_names, place)
    _check_fine_tuning(plan, data)
    for note in (*data.notes, *describe_conflicts(data)):
        log.warning(note)
    return data


def _check_fine_tuning(plan: StudyPlan, data: TaskData) -> None:
    """Raise UsageError where the settings of fine-tuning cannot be searched on these rows."""
    if not isinstance(plan.teacher.fine_tune, AutoFineTune):
        return
    rows, labels, place = len(data.train), len(data.label_names), plan.place("teacher.fine_tune")
    given = "give the settings instead, e.g. {epochs: 10, learning_rate: 1.0e-4}"
    if stop_rows(rows) < LEAST_STOP_ROWS:
        raise UsageError(
            f"{place}: auto compares settings on rows cut from train, but {rows} rows are too few to cut from (at least"
            f" {5 * LEAST_STOP_ROWS} are needed); add rows, or {given}"
        )
    if labels > rows - stop_rows(rows):
        raise UsageError(f"{place}: train has {rows} rows for {labels} labels; add rows, or {given}")


def _check_linear_probe(plan: StudyPlan, task: Task) -> None:
    """Raise UsageError where `linear_probe_rows` is asked of a task without one label for each text."""
    settings = plan.teacher.fine_tune
    if settings is not None and settings.linear_probe_rows and task.predicts != "labels":
        place = plan.place("teacher.fine_tune.linear_probe_rows")
        raise UsageError(
            f"{place}: it fits a classifier of texts, but {task.name} predicts {task.predicts}; leave it out"
        )


def _check_silver_pairs(plan: StudyPlan, task: Task, offline: bool) -> None:
    """Raise UsageError where `silver_pairs` is asked of a task or model that has no use for them."""
    settings, place = plan.teacher.fine_tune, plan.place("teacher.fine_tune.silver_pairs")
    if settings is None or not settings.silver_pairs:
        return
    if task.predicts != "numbers" or not task.has_pairs(plan.task.columns):
        raise UsageError(
            f"{place}: it needs numbers that compare two texts (regression with columns.text_pair); leave it out"
        )
    if not has_pooling(plan.teacher.model, offline):
        raise UsageError(
            f"{place}: {plan.teacher.model!r} has no modules.json, so it was not trained to give embeddings that could rate"
            " pairs; leave it out"
        )


def _check_unlabelled_columns(plan: StudyPlan, task: Task) -> None:
    """Raise UsageError where `unlabelled_columns` names columns of no file, or a task does not read single texts."""
    data, place = plan.task.data, plan.place("task.data.unlabelled_columns")
    if data.unlabelled_columns is None:
        return
    if data.unlabelled is None:
        raise UsageError(
            f"{place}: it names the columns of task.data.unlabelled, which is not set; set it, or leave this out"
        )
    if task.reads_words or task.has_pairs(plan.task.columns):
        reads = "lists of words" if task.reads_words else "pairs of texts"
        raise UsageError(f"{place}: {task.name} reads {reads} here, and single texts are none; leave it out")


def _check_start(plan: StudyPlan, space: Space, data: TaskData, offline: bool) -> None:
    """Raise UsageError where the candidate that the study starts from does not fit its space or its teacher."""
    if plan.start is None:
        return
    _check_start_form(plan, data.label_names, offline)
    earlier = read_earlier_candidate(plan.start, plan.place("start"))
    if not space.contains(earlier.recipe):
        raise UsageError(
            f"{plan.place('space')}: trial {earlier.trial} of {earlier.study}, which the study starts from, is not in it:"
            f" {earlier.recipe.describe()}"
        )


def _check_start_form(plan: StudyPlan, labels: Sequence[str] | None, offline: bool) -> None:
    """Raise UsageError where the candidate that the study starts from was cut from another kind of teacher.

    Labels are compared where they are known.
    """
    if plan.start is None:
        return
    earlier = read_earlier_candidate(plan.start, plan.place("start"))
    form = read_teacher_form(plan.teacher.model, earlier.teacher.labels if labels is None else labels, offline)
    if difference := form.describe_difference(earlier.teacher):
        name = f"trial {earlier.trial} of {earlier.study}"
        raise UsageError(
            f"{plan.place('teacher.model')}: {name}, which the study starts from, was cut from another kind of model: this one"
            f" {difference}; name a teacher of the same kind, or begin a new study with `init`"
        )


def _describe_choice(plan: StudyPlan, data: TaskData) -> str | None:
    """Return how precisely the rows tell a drop; null for metrics of another scale than accuracy."""
    if plan.task.metric != "accuracy":
        return None
    rows, agreement = len(data.validation), data.agreement
    plain = points(choice_precision(rows))
    sentence = f"{rows:,} validation rows tell the drop of a usual candidate within ± {plain} points (95 %)"
    if agreement is None:
        return f"{sentence}; with more of them `pick` can name faster models"
    precision = choice_precision(rows, len(agreement), data.has_agreement_labels)
    return f"{sentence}, and with {len(agreement):,} agreement rows within ± {points(precision)}"


def check_same_sources(plan: StudyPlan, study: Study, fingerprint: str) -> None:
    """Raise UsageError where rows or teacher are not those that the study was begun with; names of data files may change."""
    if study.teacher() is None:
        return
    facts = read_trial_details(plan.storage, plan.study, 0).outcome.facts
    if TEACHER in (changed := changed_sources(plan, facts.get("sources", {}))):
        raise UsageError(
            f"{plan.place(TEACHER)}: {', '.join(changed[TEACHER])} changed since study {plan.study!r} was begun; restore the"
            " model, give the study another name, or bring a chosen model up to date with `refresh`"
        )
    if facts.get("data") not in (None, fingerprint):
        raise UsageError(
            f"{plan.place('task.data')}: the rows are not those that study {plan.study!r} was begun with; restore the data,"
            " or give the study another name"
        )
