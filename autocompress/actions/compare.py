"""Compare two trials: their models on the same rows of the test split, their speed-ups and sizes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from autocompress.actions.card_data import base_name
from autocompress.actions.export import check_trial
from autocompress.actions.locate import StudyLocation
from autocompress.config import StudyPlan
from autocompress.core.errors import UsageError
from autocompress.core.trial_row import TrialRow
from autocompress.data.ragged import Ragged
from autocompress.search.display import Display
from autocompress.selection import Comparison, mcnemar, ratio_interval
from autocompress.study.trial_details import read_artifacts
from autocompress.tasks import Rows, Task, Tokens


@dataclass(frozen=True)
class TrialLocation:
    """A trial of a study."""

    study: StudyLocation
    trial: int


@dataclass(frozen=True, kw_only=True)
class _TestOutputs:
    """The outputs of one trial's model on the test split."""

    outputs: Ragged
    teacher: Ragged | None  # the outputs of the teacher, where they judge the others
    rows: Rows  # the test split
    tokens: Tokens  # of these rows
    task: Task
    plan: StudyPlan


def compare_trials(first: TrialLocation, second: TrialLocation, display: Display) -> Comparison:
    """Compare two models on the test split, each in its runtime; kept outputs are used where they exist.

    Raises UsageError for a trial without a model, and where the test rows of the two studies differ.
    """
    outputs_a, outputs_b = _test_outputs(first, display), _test_outputs(second, display)
    _check_same_rows(outputs_a, outputs_b)
    from autocompress import metrics
    from autocompress.benchmarking import scoring

    plan, task, tokens = outputs_a.plan, outputs_a.task, outputs_a.tokens
    metric = metrics.load_metric(plan.task.metric)
    quality = scoring.score(
        "test", task, outputs_b.outputs, outputs_a.outputs, tokens, metric, plan.seed, outputs_a.teacher
    )
    only_a, only_b = _count_right(outputs_a, outputs_b)
    view_a, view_b = first.study.view(), second.study.view()
    a, b = view_a.row(first.trial), view_b.row(second.trial)
    same_teacher = bool(view_a.teacher and view_b.teacher and view_a.teacher.sha256 == view_b.teacher.sha256)
    return Comparison(
        study_a=view_a.name,
        study_b=view_b.name,
        a=a,
        b=b,
        metric=base_name(str(plan.task.metric)),
        examples=quality.examples,
        quality_a=quality.quality + quality.drop,
        quality_b=quality.quality,
        drop=quality.drop,
        drop_interval=(quality.drop_interval.low, quality.drop_interval.high),
        only_a_right=only_a,
        only_b_right=only_b,
        p_value=None if only_a is None or only_b is None else mcnemar(only_a, only_b),
        disagreement=quality.disagreement,
        faster=b.speedup / a.speedup if same_teacher and a.speedup and b.speedup else None,
        faster_interval=_faster_interval(a, b) if same_teacher else None,
        smaller=(a.size_mb or 0.0) / (b.size_mb or 1.0),
    )


def _count_right(a: _TestOutputs, b: _TestOutputs) -> tuple[int | None, int | None]:
    """Return the rows that only a, and only b, predicts right; nulls where the task knows no right and wrong."""
    truth = a.task.references(a.tokens, a.outputs)
    right_a, right_b = (a.task.is_right(a.task.predict(x.outputs, x.tokens), truth) for x in (a, b))
    if right_a is None or right_b is None:
        return None, None
    return int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())


def _check_same_rows(a: _TestOutputs, b: _TestOutputs) -> None:
    if a.task is not b.task:
        raise UsageError(
            f"compare: {a.plan.study} is a study of {a.task.name}, {b.plan.study} one of {b.task.name}; choose trials of "
            "one task"
        )
    contents = [json.dumps(list(outputs.rows.contents())) for outputs in (a, b)]  # as texts, NaN equals NaN
    if contents[0] != contents[1]:
        raise UsageError(
            f"compare: the test splits of {a.plan.study} ({len(a.rows)} rows) and {b.plan.study} ({len(b.rows)} rows) "
            "are not the same; choose trials that were measured on the same rows"
        )


def _faster_interval(a: TrialRow, b: TrialRow) -> tuple[float, float] | None:
    """Return the 95 % interval of b's speed-up ÷ a's."""
    if not (a.speedup and b.speedup and a.speedup_interval and b.speedup_interval):
        return None
    return ratio_interval(a.speedup, a.speedup_interval, b.speedup, b.speedup_interval)


def _test_outputs(located: TrialLocation, display: Display) -> _TestOutputs:
    """Run a trial's model on the test split, or read its kept outputs."""
    from autocompress.search.stage_timer import StageTimer
    from autocompress.search.trial_pipeline import TrialPipeline

    study, trial = located.study, located.trial
    view = study.view()
    row, store = view.row(trial), study.store(view)
    check_trial(row, store)
    plan = study.plan("compare")
    pipeline = TrialPipeline(plan, store)
    artifacts = read_artifacts(study.url, study.name, trial)
    description = row.describe()
    timer = StageTimer(lambda stage, done: display.stage(0, trial, description, stage, done))
    outputs, data = pipeline.devices.outputs(artifacts, "test", timer), pipeline.context.data
    tokens, teacher = data.tokens["test"], None
    if data.task.is_judged_by_teacher(tokens):
        teacher = pipeline.devices.outputs(read_artifacts(study.url, study.name, 0), "test", timer)
    return _TestOutputs(
        outputs=outputs, teacher=teacher, rows=data.splits.test, tokens=tokens, task=data.task, plan=plan
    )
