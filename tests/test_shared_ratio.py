"""All speed-ups of a study use the best known ratio of teacher to timing reference; latencies do not change with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autocompress.core.composed_speedup import KEY, ComposedSpeedup, Ratio, TeacherRatio
from autocompress.core.trial_row import Outcome
from autocompress.search.known_trials import KnownTrials
from autocompress.study import Study
from autocompress.study.trial_details import read_trial_details
from tests.formula import TEACHER_MS, outcome_of, teacher_outcome
from tests.toy_study import NAME, ToyStudy

REFERENCE_MS = 0.1


def with_ratio(outcome: Outcome, teacher_log: float, measurements: int, series: str = "a") -> Outcome:
    """Return an outcome whose speedup is composed with this ratio of the teacher, in an interval that shrinks with n."""
    measurement = outcome.measurement
    assert measurement is not None
    latency = replace(measurement.latency, reference_p50_ms=REFERENCE_MS)
    candidate = Ratio(log=np.log(latency.speedup / TEACHER_MS * REFERENCE_MS), half_width=0.03)
    teacher = TeacherRatio(
        ratio=Ratio(log=teacher_log, half_width=0.2 / measurements), measurements=measurements, series=series
    )
    composed = ComposedSpeedup(candidate=candidate, teacher=teacher)
    conditions = {**measurement.conditions, KEY: composed.as_json()}
    return replace(outcome, measurement=replace(measurement, latency=composed.apply(latency), conditions=conditions))


def tell(study: Study, log_ratio: float, measurements: int, series: str = "a") -> int:
    asked = study.ask()
    while (outcome := outcome_of(asked.recipe)).measurement is None:  # stopped
        study.tell(asked.number, asked.recipe, outcome)
        asked = study.ask()
    study.tell(asked.number, asked.recipe, with_ratio(outcome, log_ratio, measurements, series))
    return asked.number


def test_a_better_ratio_scales_all_speedups_and_the_teacher_but_no_latency(toy: ToyStudy) -> None:
    study, before, after = toy.open(), float(np.log(40.0)), float(np.log(44.0))
    with study.lease():
        study.record_teacher(with_ratio(teacher_outcome(), before, 1))
        first = tell(study, before, 1)
        early = toy.view()
        assert early.rows[0].latency_ms == pytest.approx(4.0)
        known = KnownTrials.of(early)
        second = tell(study, after, 5)
        late = toy.view()
        known.add(late.row(second))
    assert late.rows[0].latency_ms == pytest.approx(4.4)
    assert late.row(first).latency_ms == pytest.approx(early.row(first).latency_ms)
    assert late.row(first).speedup == pytest.approx(1.1 * (early.row(first).speedup or 0.0))
    widths = [np.log(row.speedup_interval[1] / row.speedup_interval[0]) / 2 for view in (early, late)
              if (row := view.row(first)).speedup_interval]  # fmt: skip
    assert widths == pytest.approx([np.hypot(0.03, 0.2), np.hypot(0.03, 0.04)])
    for view in (early, late):  # relative to the other trials of the study it was known at once
        assert view.row(first).latency_interval == pytest.approx(
            tuple((view.row(first).latency_ms or 0.0) * np.exp([-0.03, 0.03]))
        )
    assert late.reference == early.reference  # of the hypervolume: as stored when the study began
    for row in late.rows:
        assert known.rows[row.trial].speedup == pytest.approx(row.speedup)
        assert known.rows[row.trial].latency_ms == pytest.approx(row.latency_ms)
    stored = toy.sql("SELECT trial, latency_ms, speedup FROM results WHERE speedup IS NOT NULL")
    shown = {trial: (latency, speedup) for trial, latency, speedup in stored}
    for trial in (0, first, second):
        assert shown[trial] == pytest.approx((late.row(trial).latency_ms, late.row(trial).speedup))
    composed = ComposedSpeedup.from_conditions(
        getattr(read_trial_details(toy.url, NAME, first).outcome.measurement, "conditions", None)
    )
    assert composed is not None and composed.teacher.measurements == 5


def test_a_trial_of_an_earlier_ratio_takes_the_better_one(toy: ToyStudy) -> None:
    """Two workers read the ratio at different times."""
    study = toy.open()
    with study.lease():
        study.record_teacher(with_ratio(teacher_outcome(), float(np.log(40.0)), 9))
        late = tell(study, float(np.log(50.0)), 2)
    view = toy.view()
    assert view.rows[0].latency_ms == pytest.approx(4.0)
    assert view.row(late).latency_ms == pytest.approx(4.0 / (view.row(late).speedup or 0.0))


def test_series_are_not_mixed(toy: ToyStudy) -> None:
    """A study that goes on on another processor."""
    study = toy.open()
    with study.lease():
        study.record_teacher(with_ratio(teacher_outcome(), float(np.log(40.0)), 9))
        first = tell(study, float(np.log(40.0)), 9)
        early = toy.view().row(first)
        tell(study, float(np.log(80.0)), 20, "b")
    now = toy.view().row(first)
    assert (now.speedup, now.speedup_interval, now.latency_ms) == (
        early.speedup, early.speedup_interval, early.latency_ms
    )  # fmt: skip
    assert toy.view().rows[0].latency_ms == pytest.approx(4.0)


def test_studies_know_whether_they_began_beside_the_teacher(toy: ToyStudy) -> None:
    study = toy.open()
    assert not study.times_beside_teacher()
    with study.lease():
        study.record_teacher(teacher_outcome())
    assert study.times_beside_teacher()


def test_studies_know_whether_they_have_a_timing_reference(toy: ToyStudy) -> None:
    study = toy.open()
    with study.lease():
        study.record_teacher(with_ratio(teacher_outcome(), float(np.log(40.0)), 1))
    assert not study.times_beside_teacher()
