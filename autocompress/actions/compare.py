"""Two trials side by side: their models on the same rows of the test split, their speed-ups and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autocompress.actions.export import check_trial
from autocompress.actions.locate import StudyLocation
from autocompress.actions.model_card import base_name
from autocompress.config import StudyPlan
from autocompress.core.errors import UsageError
from autocompress.core.trial_row import TrialRow
from autocompress.search.display import Display
from autocompress.selection import Comparison, mcnemar, ratio_interval
from autocompress.study.trial_details import read_artifacts


@dataclass(frozen=True)
class Side:
    """A trial of a study."""

    located: StudyLocation
    trial: int


def compare(first: Side, second: Side, display: Display) -> Comparison:
    """Run both models on the test split, in their runtime, as far as their logits were not kept.

    UsageError for trials without a model, or where the rows of the two studies differ.
    """
    logits_a, rows, plan = _logits(first, display)
    logits_b, others, other = _logits(second, display)
    labels = rows.labels
    if (rows.texts, rows.pairs, labels.tolist()) != (others.texts, others.pairs, others.labels.tolist()):
        raise UsageError(
            f"the test splits of {plan.study} ({len(rows)} rows) and {other.study} ({len(others)} rows) are not the same; "
            "only models that were measured on the same rows can be compared"
        )
    from autocompress import metrics
    from autocompress.benchmarking import scoring

    view_a, view_b = first.located.view(), second.located.view()
    a, b = view_a.row(first.trial), view_b.row(second.trial)
    metric = metrics.score_function(plan.task.metric)
    found = scoring.score("test", logits_b, logits_a, labels, metric, plan.seed)
    right_a, right_b = logits_a.argmax(-1) == labels, logits_b.argmax(-1) == labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    alike = bool(view_a.teacher and view_b.teacher and view_a.teacher.sha256 == view_b.teacher.sha256)
    return Comparison(
        study_a=view_a.name,
        study_b=view_b.name,
        a=a,
        b=b,
        metric=base_name(str(plan.task.metric)),
        examples=len(labels),
        quality_a=found.quality + found.drop,
        quality_b=found.quality,
        drop=found.drop,
        drop_interval=(found.drop_interval.low, found.drop_interval.high),
        only_a_right=only_a,
        only_b_right=only_b,
        p_value=mcnemar(only_a, only_b),
        disagreement=found.disagreement,
        faster=b.speedup / a.speedup if alike and a.speedup and b.speedup else None,
        faster_interval=_ratio(a, b) if alike else None,
        smaller=(a.size_mb or 0.0) / (b.size_mb or 1.0),
    )


def _ratio(a: TrialRow, b: TrialRow) -> tuple[float, float] | None:
    if not (a.speedup and b.speedup and a.speedup_interval and b.speedup_interval):
        return None
    return ratio_interval(a.speedup, a.speedup_interval, b.speedup, b.speedup_interval)


def _logits(side: Side, display: Display) -> tuple[np.ndarray, Any, StudyPlan]:
    """Logits (rows, labels) on the test split, its rows, and the plan of the study."""
    from autocompress.search.stage_timer import StageTimer
    from autocompress.search.trial_pipeline import TrialPipeline

    view = side.located.view()
    row, store = view.row(side.trial), side.located.store(view)
    check_trial(row, store)
    plan = side.located.plan("compare")
    life = TrialPipeline(plan, store)
    artifacts = read_artifacts(side.located.url, side.located.name, side.trial)
    words = row.describe()
    clock = StageTimer(lambda stage, done: display.stage(0, side.trial, words, stage, done))
    return life.devices.logits(artifacts, "test", clock), life.context.data.splits.test, plan
