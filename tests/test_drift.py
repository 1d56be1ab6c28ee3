"""How the drift of the reference latency widens the intervals of speedups."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autocompress import benchmarking
from autocompress.benchmarking import Drift, with_drift
from autocompress.benchmarking.backends import TeacherTiming
from autocompress.config import Device
from autocompress.core.measurement import Interval, Latency, Timing
from autocompress.storage.artifact_store import Store


def make_latency(speedup: float, half: float = 0.02) -> Latency:
    interval = Interval(low=speedup * np.exp(-half), high=speedup * np.exp(half))
    return Latency(p50_ms=1, p95_ms=1, reference_p50_ms=speedup, speedup=speedup, speedup_interval=interval, blocks=5)


def test_with_drift_makes_measurements_of_a_drifting_reference_agree(tmp_path: Path) -> None:
    """The reference is a seventh slower now and then, beside a model that is not."""
    rng, drift = np.random.default_rng(0), Drift(tmp_path / "drift" / "a.txt")
    widened = []
    for _ in range(300):
        speedup = 8 * float(np.exp(rng.normal(0, 0.14)))
        widened.append(with_drift(make_latency(speedup), drift.note(speedup)))
    intervals = [latency.speedup_interval for latency in widened[100:]]  # the drift is known by then
    ends = np.log([(interval.low, interval.high) for interval in intervals])
    middle, half = ends.mean(axis=1), (ends[:, 1] - ends[:, 0]) / 2
    agree = np.abs(middle[:, None] - middle) <= np.hypot(half[:, None], half)
    assert agree[np.triu_indices(len(middle), 1)].mean() > 0.93
    assert widened[-1].noise is not None and "reference latency varied by 1" in widened[-1].noise


def test_drift_needs_five_measurements_and_a_steady_reference_widens_nothing(tmp_path: Path) -> None:
    drift = Drift(tmp_path / "a.txt")
    spreads = [drift.note(milliseconds) for milliseconds in (5.0, 9.0, 5.1, 5.0)]
    assert spreads == [0, 0, 0, 0]  # too few measurements
    assert drift.note(5.05) == pytest.approx(np.std(np.log([5.0, 9.0, 5.1, 5.0, 5.05]), ddof=1))
    steady = Drift(tmp_path / "b.txt")
    for milliseconds in (5.0, 5.02, 4.98, 5.01, 5.0):
        spread = steady.note(milliseconds)
    assert 0 < spread < 0.02 and with_drift(make_latency(8), spread) == make_latency(8)


def test_intervals_beside_the_teacher_are_widened_by_its_drift(tmp_path: Path) -> None:
    """Measurements one after the other, on a device whose teacher takes another time in each."""
    speedups = iter([5.0, 8.0, 5.0, 8.0, 5.0])

    def time(*_: object) -> Timing:
        return Timing(latency=make_latency(next(speedups)), memory_mb=None, start_ms=None, conditions={})

    backend: Any = SimpleNamespace(device=Device(tokens=8), cpu=lambda: "a CPU", time=time)
    timing = TeacherTiming(backend, Store(tmp_path), "0" * 64)
    timings = [timing.time(tmp_path, [], benchmarking.QUICK_TIMING) for _ in range(5)]
    intervals = [timing.latency.speedup_interval for timing in timings]
    widths = [np.log(interval.high / interval.low) / 2 for interval in intervals]
    assert widths[:4] == pytest.approx([0.02] * 4)  # too few measurements
    assert widths[4] > 0.4 and "reference latency varied by 26 %" in timings[4].conditions["noise"]
