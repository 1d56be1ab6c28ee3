"""Artifacts timed beside the timing reference of a study, and how a study finds and keeps its reference."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress.benchmarking import QUICK_TIMING, THOROUGH_TIMING, TimingBudget
from autocompress.benchmarking.backends import ReferenceTiming, TeacherTiming
from autocompress.benchmarking.backends.reference_timing import widen
from autocompress.benchmarking.inputs import Feeds
from autocompress.benchmarking.teacher_records import CALM_SHARE
from autocompress.config import Device, read_plan
from autocompress.core.composed_speedup import KEY, ComposedSpeedup, Ratio
from autocompress.core.measurement import Interval, Latency, Timing
from autocompress.core.recipe import Recipe
from autocompress.search import timing_reference
from autocompress.search.trial_pipeline import TrialPipeline
from autocompress.storage.artifact_store import Store
from tests.test_composed_speedup import disturbed_teacher
from tests.test_unknown_families import unknown_study
from tests.tiny import FAMILIES, tiny_study

TEACHER, FEEDS = "0" * 64, [{"input_ids": np.ones((1, 8), np.int64)}]
TRUE_MS = {TEACHER: 6.0, "reference": 0.1, "candidate": 0.75}
SHARE = 0.4  # of the time in which the teacher is disturbed


@dataclass
class DriftingBackend:
    """A device on which the teacher varies by 14 %, being disturbed now and then, and small models by 1 %."""

    rng: np.random.Generator
    seconds: float = 1000.0
    teacher: Iterator[float] = field(init=False)
    calls: list[tuple[str, str]] = field(default_factory=list)
    budgets: list[TimingBudget] = field(default_factory=list)
    device: Device = field(default_factory=lambda: Device(tokens=8))
    patience: float = 0.0

    def __post_init__(self) -> None:
        self.teacher = iter(disturbed_teacher(self.rng, 15.0 * np.arange(4000), SHARE, 4.0))

    def now(self) -> float:
        """Return the time."""
        return self.seconds

    def cpu(self) -> str:
        return "a CPU"

    def time(self, artifact: Path, reference: Path, feeds: Feeds, budget: TimingBudget, fresh: bool) -> Timing:
        self.calls.append((artifact.name, reference.name))
        self.budgets.append(budget)
        self.seconds += 0.3
        logs = {name: np.log(ms) + self.rng.normal(0, 0.01) for name, ms in TRUE_MS.items()}
        logs[TEACHER] = np.log(TRUE_MS[TEACHER]) + next(self.teacher)
        ratio = np.exp(logs[reference.name] - logs[artifact.name])
        latency = Latency(
            p50_ms=float(np.exp(logs[artifact.name])), p95_ms=1.0, reference_p50_ms=float(np.exp(logs[reference.name])),
            speedup=float(ratio), speedup_interval=Interval(low=float(ratio / 1.04), high=float(ratio * 1.04)), blocks=5,
            cold_ms=9.0 if budget.further else None, throughput=50.0 if budget.further else None,
        )  # fmt: skip
        return Timing(latency=latency, memory_mb=7.0 if fresh else None, conditions={"threads": 1})


def timing_in(folder: Path, seed: int = 0) -> ReferenceTiming:
    backend: Any = DriftingBackend(np.random.default_rng(seed))
    return ReferenceTiming(backend, Store(folder), TEACHER, Path("reference"), backend.now)


def time_trials(timing: ReferenceTiming, count: int) -> list[Latency]:
    """Return the latencies of a candidate, measured every fifteen seconds."""
    backend: Any = timing.backend
    latencies = []
    for _ in range(count):
        latencies.append(timing.time(Path("candidate"), FEEDS, QUICK_TIMING).latency)
        backend.seconds += 14.4
    return latencies


def half_width(latency: Latency) -> float:
    return float(np.log(latency.speedup_interval.high / latency.speedup_interval.low) / 2)


def test_intervals_are_narrow_beside_the_timing_reference_and_hold_the_truth(tmp_path: Path) -> None:
    """Beside the teacher itself they would be ± 27 %."""
    calm = np.quantile(disturbed_teacher(np.random.default_rng(1), 15.0 * np.arange(20_000), SHARE, 4.0), CALM_SHARE)
    held, halves = [], []
    for seed in range(60):
        timing = timing_in(tmp_path / str(seed), seed)
        latency = time_trials(timing, 40)[-1]
        halves.append(half_width(latency))
        held.append(latency.speedup_interval.low <= 8.0 * np.exp(calm) <= latency.speedup_interval.high)
    assert np.mean(held) >= 0.9
    assert np.median(halves) <= 0.08
    direct = TeacherTiming(timing.backend, timing.store, TEACHER)
    for _ in range(40):
        latency = direct.time(Path("candidate"), FEEDS, QUICK_TIMING).latency
    assert half_width(latency) > 0.2


def test_measurements_in_a_study_agree_within_the_interval_of_their_difference(tmp_path: Path) -> None:
    timing = timing_in(tmp_path)
    pairs = list(itertools.combinations(time_trials(timing, 40), 2))
    agree = [abs(np.log(a.speedup / b.speedup)) <= np.hypot(half_width(a), half_width(b)) for a, b in pairs]
    assert np.mean(agree) >= 0.95


def test_teacher_is_timed_only_where_that_is_due(tmp_path: Path) -> None:
    timing = timing_in(tmp_path)
    backend: Any = timing.backend
    timing.time(Path("candidate"), FEEDS, QUICK_TIMING)
    assert backend.calls == [("candidate", "reference"), (TEACHER, "reference")]
    backend.calls.clear()
    timing.time(Path("candidate"), FEEDS, QUICK_TIMING)
    assert backend.calls == [("candidate", "reference")]
    backend.seconds += 15
    timing.time_teacher(FEEDS)
    assert backend.calls[1:] == [(TEACHER, "reference")]
    assert timing.teacher_ratio(FEEDS).measurements == 2


def test_a_thorough_measurement_empties_the_caches_by_the_teacher(tmp_path: Path) -> None:
    timing = timing_in(tmp_path)
    backend: Any = timing.backend
    thorough = timing.time(Path("candidate"), FEEDS, THOROUGH_TIMING)
    assert ("candidate", TEACHER) in backend.calls
    assert (thorough.latency.cold_ms, thorough.latency.throughput, thorough.memory_mb) == (9.0, 50.0, 7.0)
    quick = timing.time(Path("candidate"), FEEDS, QUICK_TIMING)
    assert (quick.latency.cold_ms, quick.memory_mb) == (None, None)


def test_measuring_the_teacher_counts_as_one_of_its_measurements(tmp_path: Path) -> None:
    timing = timing_in(tmp_path)
    (tmp_path / "models").mkdir()
    measured = timing.time(timing.store.artifact(TEACHER), FEEDS, QUICK_TIMING)
    assert timing.teacher_ratio(FEEDS).measurements == 1
    assert measured.latency.speedup == pytest.approx(1.0)
    assert measured.conditions["blocks_alternate_with"].startswith("a small model")


def test_one_disturbed_block_of_the_timing_reference_does_not_make_the_teacher_fast(tmp_path: Path) -> None:
    timing = timing_in(tmp_path)
    backend: Any = timing.backend
    interval = Interval(low=0.02, high=0.04)  # of the mean over pairs, one of which was disturbed
    slow = Latency(p50_ms=6.0, p95_ms=7.0, reference_p50_ms=0.1, speedup=0.03, speedup_interval=interval, blocks=3)
    backend.time = lambda *_: Timing(latency=slow, conditions={})
    timing.time_teacher(FEEDS)
    assert timing.teacher_ratio(FEEDS).ratio.value == pytest.approx(60)


def test_a_speedup_beside_a_slowed_reference_is_less_certain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = timing_in(tmp_path)
    backend: Any = timing.backend
    calm = time_trials(timing, 10)[-1]
    monkeypatch.setitem(TRUE_MS, "reference", 0.15)
    monkeypatch.setitem(TRUE_MS, "candidate", 0.9)  # slowed down less, so that it looks 1.25 times as fast
    slowed = timing.time(Path("candidate"), FEEDS, QUICK_TIMING).latency
    assert slowed.speedup / calm.speedup == pytest.approx(1.25, rel=0.06)
    assert np.log(slowed.speedup / calm.speedup) < half_width(slowed)
    assert half_width(slowed) > 2 * half_width(calm)
    backend.seconds += 100
    timing.time_teacher(FEEDS)  # beside the slowed reference: the ratio stays that of the calm measurements
    assert timing.teacher_ratio(FEEDS).ratio.log == pytest.approx(np.log(60), abs=0.06)


def test_every_measurement_knows_how_fast_the_reference_is_in_calm_moments(tmp_path: Path) -> None:
    timing = timing_in(tmp_path)
    backend: Any = timing.backend
    time_trials(timing, 3)
    backend.seconds += 15  # the teacher is due
    calm = timing.records(FEEDS).reference_ms()
    backend.budgets.clear()
    timing.time(Path("candidate"), FEEDS, QUICK_TIMING)
    assert [budget.calm_reference_ms for budget in backend.budgets] == pytest.approx([calm, calm], rel=0.02)


def test_ratios_of_two_processes_agree_within_the_intervals_that_widening_gives() -> None:
    """Ratios to the small reference vary by 2.2 % (s.d.) between processes, even where each is measured exactly."""
    exact = Interval(low=0.1, high=0.1)
    calm = Latency(p50_ms=1.0, p95_ms=1.0, reference_p50_ms=0.1, speedup=0.1, speedup_interval=exact, blocks=5)
    draws = np.random.default_rng(0).normal(np.log(10), 0.022, 400)
    ratios = [widen(Ratio(log=draw, half_width=0.0), calm, 0.1) for draw in draws]
    pairs = zip(ratios[::2], ratios[1::2], strict=True)
    agree = [abs(one.log - other.log) <= np.hypot(one.half_width, other.half_width) for one, other in pairs]
    assert np.mean(agree) >= 0.92


def test_other_shapes_have_a_series_of_their_own(tmp_path: Path) -> None:
    timing = timing_in(tmp_path)
    longer = [{"input_ids": np.ones((1, 16), np.int64)}]
    timing.time(Path("candidate"), FEEDS, QUICK_TIMING)
    timing.time(Path("candidate"), longer, QUICK_TIMING)
    assert timing.teacher_ratio(FEEDS).series != timing.teacher_ratio(longer).series
    assert timing.teacher_ratio(longer).measurements == 1


# ---- the timing reference of a study ---------------------------------------------------------------------------------


def silent(stage: str, fraction: float) -> None:
    """Report nothing."""


@pytest.mark.parametrize("family", FAMILIES)
def test_timing_reference_is_one_small_layer_of_each_family(tmp_path: Path, family: str) -> None:
    plan = read_plan(tiny_study(tmp_path, family=family, teacher={"model": "./teacher"}))
    pipeline = TrialPipeline(plan, Store(tmp_path / "artifacts"))
    pipeline.run_teacher(silent)
    candidate = timing_reference.cut_down(pipeline.context.teacher)
    assert (candidate.kept_layers, candidate.heads, candidate.neurons) == ((0,), (1,), (64,))
    (folder,) = (tmp_path / "artifacts" / "stages" / "timing_reference").iterdir()
    assert (folder / "model.onnx").is_file()


def test_timing_reference_is_deployed_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = read_plan(tiny_study(tmp_path, teacher={"model": "./teacher"}))
    pipeline = TrialPipeline(plan, Store(tmp_path / "artifacts"))
    outcome = pipeline.run_teacher(silent)
    measurement = outcome.measurement
    assert measurement is not None and KEY in measurement.conditions

    def refuse(*_: object) -> None:
        raise AssertionError("deployed again")

    monkeypatch.setattr(timing_reference, "cut_down", refuse)
    again = TrialPipeline(plan, Store(tmp_path / "artifacts"))
    again.devices.references = pipeline.devices.references
    seen = again.run_trial(Recipe(depth=1, weight_bits=8), 0, None, silent).measurement
    assert seen is not None
    composed = ComposedSpeedup.from_conditions(seen.conditions)
    assert composed is not None
    assert seen.latency.speedup == pytest.approx(composed.speedup.value)


def test_a_teacher_of_an_unknown_family_is_the_reference_itself(tmp_path: Path) -> None:
    file = unknown_study(tmp_path)
    pipeline = TrialPipeline(read_plan(file), Store(tmp_path / "artifacts"))
    measurement = pipeline.run_teacher(silent).measurement
    assert measurement is not None and KEY not in measurement.conditions
    assert measurement.conditions["blocks_alternate_with"] == "fp32 teacher artifact, default session"
    assert not (tmp_path / "artifacts" / "stages" / "timing_reference").exists()
