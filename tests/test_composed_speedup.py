"""Speed-ups composed of two ratios, and the ratio of teacher to timing reference, pooled while the teacher drifts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autocompress.benchmarking import teacher_records
from autocompress.benchmarking.teacher_records import CALM_SHARE, TeacherRecords, pool, pool_calm, t_quantile
from autocompress.core.composed_speedup import KEY, ComposedSpeedup, Ratio, TeacherRatio, teacher_latency_ms
from autocompress.core.measurement import Interval, Latency

TEACHER = TeacherRatio(ratio=Ratio(log=np.log(20.0), half_width=0.04), measurements=7, series="s")
COMPOSED = ComposedSpeedup(candidate=Ratio(log=np.log(0.4), half_width=0.03), teacher=TEACHER)


def drifting_teacher(rng: np.random.Generator, times: np.ndarray, spread: float, seconds: float) -> np.ndarray:
    """Logarithms of a ratio that varies by `spread` and forgets its value within `seconds`, at some times."""
    values = [rng.normal(0, spread)]
    for step in np.diff(times):
        kept = np.exp(-step / seconds)
        values.append(kept * values[-1] + rng.normal(0, spread * np.sqrt(1 - kept**2)))
    return np.array(values) + rng.normal(0, 0.02, len(times))


def test_composed_speedup_multiplies_ratios_and_adds_the_squares_of_their_errors() -> None:
    speedup = COMPOSED.speedup
    assert speedup.value == pytest.approx(8)
    assert speedup.half_width == pytest.approx(0.05)
    assert np.log(speedup.interval.high / 8) == pytest.approx(0.05) == -np.log(speedup.interval.low / 8)


def test_composed_speedup_can_be_read_from_stored_conditions() -> None:
    conditions = json.loads(json.dumps({"threads": 1, KEY: COMPOSED.as_json()}))
    assert ComposedSpeedup.from_conditions(conditions) == COMPOSED
    assert ComposedSpeedup.from_conditions({"threads": 1}) is None is ComposedSpeedup.from_conditions(None)


def test_describe_names_both_ratios_with_their_errors() -> None:
    sentence = "teacher ÷ timing reference 20 ± 4.1 %, 7 measurements; timing reference ÷ model 0.4 ± 3.0 %"
    assert COMPOSED.describe() == sentence


def test_teacher_latency_is_that_of_the_timing_reference_times_the_pooled_ratio() -> None:
    assert teacher_latency_ms(7.0, 0.25, {KEY: COMPOSED.as_json()}) == pytest.approx(5)
    assert teacher_latency_ms(7.0, 7.1, {"threads": 1}) == 7.0  # timed beside itself


def test_ratio_of_a_latency_is_its_speedup() -> None:
    interval = Interval(low=7.5, high=8.533)
    ratio = Ratio.of(Latency(p50_ms=1, p95_ms=1, reference_p50_ms=8, speedup=8, speedup_interval=interval, blocks=5))
    assert (ratio.value, ratio.half_width) == pytest.approx((8, np.log(8.533 / 7.5) / 2))


# ---- pooled measurements of the teacher ------------------------------------------------------------------------------


def disturbed_teacher(rng: np.random.Generator, times: np.ndarray, share: float, seconds: float) -> np.ndarray:
    """Logarithms of a ratio, 0 while the host is calm and up to 0.38 in a share of the time, for `seconds` at a time."""
    states = [rng.random() < share]
    for step in np.diff(times):
        states.append(states[-1] if rng.random() < np.exp(-step / seconds) else rng.random() < share)
    return np.array(states) * rng.uniform(0.2, 0.38, len(times)) + rng.normal(0, 0.02, len(times))


@pytest.mark.parametrize(("share", "seconds"), [(0.0, 4.0), (0.4, 4.0), (0.4, 10.0), (0.6, 4.0)])
@pytest.mark.parametrize("records", [3, 10, 40, 80])
def test_interval_of_the_pooled_ratio_holds_the_truth(share: float, seconds: float, records: int) -> None:
    """A teacher that is disturbed for some seconds at a time, measured every six to ten seconds."""
    rng, held, halves = np.random.default_rng(records), 0, []
    truth = float(np.quantile(disturbed_teacher(rng, 8.0 * np.arange(20_000), share, seconds), CALM_SHARE))
    for _ in range(400):
        times = np.cumsum(rng.uniform(6, 10, records))
        ratio = pool(times, disturbed_teacher(rng, times, share, seconds))
        held += abs(ratio.log - truth) <= ratio.half_width
        halves.append(ratio.half_width)
    assert held >= (0.7 if records == 3 else 0.92) * 400
    if records >= 40 and share < 0.5:
        assert np.median(halves) <= 0.04


def test_interval_of_the_pooled_ratio_holds_the_truth_of_a_wandering_teacher() -> None:
    """A teacher without a calm state, whose time varies by 14 %."""
    rng, records, held = np.random.default_rng(0), 40, 0
    truth = float(np.quantile(drifting_teacher(rng, 8.0 * np.arange(20_000), 0.14, 4.0), CALM_SHARE))
    for _ in range(400):
        times = np.cumsum(rng.uniform(6, 10, records))
        ratio = pool(times, drifting_teacher(rng, times, 0.14, 4.0))
        held += abs(ratio.log - truth) <= ratio.half_width
    assert held >= 0.92 * 400


def test_close_measurements_do_not_narrow_the_interval() -> None:
    close = pool(np.linspace(0, 1, 100), np.zeros(100))
    assert close.half_width > 0.2
    assert pool(np.linspace(0, 1000, 100), np.zeros(100)).half_width < 0.01
    with pytest.raises(ValueError, match="was not measured"):
        pool_calm(np.empty((0, 4)), 0.075)


def test_measurements_while_the_reference_was_slow_are_left_out() -> None:
    """On a host whose cores are shared the reference takes 1.5 times as long, and the teacher 1.2 times, half of the time."""
    rng, times, held, halves = np.random.default_rng(0), 8.0 * np.arange(40), 0, []
    for _ in range(200):
        slow = rng.random(len(times)) < 0.5
        references = 0.075 * np.exp(rng.normal(0, 0.03, len(times)) + np.log(1.5) * slow)
        logs = np.log(75) + rng.normal(0, 0.04, len(times)) - np.log(1.5 / 1.2) * slow
        ratio = pool_calm(np.stack([times, logs, np.ones(len(times)), references], axis=1), 0.075)
        held += abs(ratio.log - np.log(75)) <= ratio.half_width + 0.67 * 0.04  # it is a quartile
        halves.append(ratio.half_width)
    assert held >= 190 and np.median(halves) <= 0.05


def test_without_calm_measurements_the_calmest_count_and_the_interval_tells_it() -> None:
    times = 8.0 * np.arange(40)
    logs, references = np.full(40, np.log(60.0)), np.full(40, 0.11)
    records = np.stack([times, logs, np.ones(40), references], axis=1)
    ratio = pool_calm(records, 0.07)
    assert ratio.log == pytest.approx(np.log(60.0))
    assert ratio.log + ratio.half_width > np.log(60.0 * (0.11 / 0.07) ** 0.45)  # what the teacher takes in calm moments
    assert pool_calm(records, 0.11).half_width < 0.02


def test_calm_moments_are_learned_from_the_fastest_blocks_of_all_measurements(tmp_path: Path) -> None:
    records = TeacherRecords(tmp_path / "a.txt")
    assert records.reference_ms() is None
    records.add(100.0, 3.0, 0.2, 0.11)
    assert records.reference_ms() == 0.11  # a series that began without fastest blocks
    for moment, fastest in enumerate((0.1, 0.07, 0.071, 0.072, 0.12)):
        records.add_fastest(100.0 + moment, fastest)
    assert records.reference_ms() == pytest.approx(0.0704)
    assert len(records.read()) == records.pool()[1] == 1 and not records.is_due(103.0)


def test_t_quantile_is_that_of_student() -> None:
    for freedom, exact in {2: 4.303, 3: 3.182, 5: 2.571, 10: 2.228, 30: 2.042}.items():
        assert t_quantile(freedom) == pytest.approx(exact, rel=0.04)


def test_records_are_kept_in_a_file_and_due_again_after_six_seconds(tmp_path: Path) -> None:
    records = TeacherRecords(tmp_path / "teacher_timings" / "a.txt")
    assert records.is_due(100.0)
    records.add(100.0, 3.0, 0.2, 0.07)
    assert not records.is_due(105.0)
    assert records.is_due(106.5)
    TeacherRecords(records.file).add(200.0, 3.2, 2.0, 0.07)
    assert records.pool()[0].log == pytest.approx(3.0 + 0.2 * CALM_SHARE)
    assert records.pool()[1] == 2
    assert not records.is_due(230.0)  # a slow teacher is measured for at most a twentieth of the time
    assert records.is_due(200.0 + 2.0 / teacher_records.MOST_SHARE + 1)
