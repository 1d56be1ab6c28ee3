"""Latency in alternating blocks, quality by paired bootstrap, memory in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autocompress import benchmarking
from autocompress.benchmarking import Drift, latency, noise, scoring, with_drift
from autocompress.config import Device
from autocompress.core.measurement import Interval, Latency, Timing
from autocompress.metrics import fast
from autocompress.runtimes import onnxruntime as runtime
from autocompress.search.device_measurement import StudyDevice, StudyDevices
from autocompress.storage.artifact_store import Store
from tests.models import deployed, tiny_candidate


class Clockwork:
    """A session that moves the clock on by a stated time and notes its calls in a common list."""

    now = 0.0  # seconds on the clock of all sessions

    def __init__(self, name: str, seconds: float, calls: list[str]) -> None:
        self.name, self.seconds, self.calls = name, seconds, calls

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        self.calls.append(self.name)
        Clockwork.now += self.seconds
        return np.zeros((1, 2))

    def open(self) -> Clockwork:
        """A new session of the same model."""
        self.calls.append(f"open {self.name}")
        return self


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only sessions take time, whatever else the machine does."""
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: Clockwork.now))
    monkeypatch.setattr(noise, "COUNTERS", Path("/there is no such file"))


FEEDS = [{"input_ids": np.ones((1, 4), np.int64)}]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("reopen", [False, True])
def test_blocks_alternate_and_the_ratio_is_the_speedup(reopen: bool) -> None:
    calls: list[str] = []
    slow, fast_one = Clockwork("reference", 0.004, calls), Clockwork("candidate", 0.001, calls)
    effort = benchmarking.TimingBudget(fewest=3, most=6, reopen=reopen, further=False)
    found = benchmarking.measure_latency(fast_one.open, slow.open, FEEDS, effort)
    runs = [name for place, name in enumerate(calls) if place == 0 or calls[place - 1] != name]
    opening, blocks = (
        ["open candidate", "open reference", "candidate"],
        ["reference", "candidate"],
    )  # both are warmed up
    assert runs == ((opening + blocks) * found.blocks if reopen else opening + blocks * found.blocks)
    assert found.speedup == pytest.approx(4)
    assert found.reference_p50_ms == pytest.approx(4)
    assert found.p50_ms == pytest.approx(1) == found.p95_ms
    assert found.noise is None


@pytest.mark.usefixtures("clock")
def test_cold_caches_and_large_batches_are_timed_under_their_own_names() -> None:
    class Cached(Clockwork):
        """Twice as slow after another model ran, and in proportion to the rows."""

        def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
            cold = not self.calls or self.calls[-1] != self.name
            Clockwork.now += self.seconds * (cold + len(feeds["input_ids"]) - 1)
            return super().run(feeds)

    calls: list[str] = []
    slow, fast_one = Cached("reference", 0.004, calls), Cached("candidate", 0.001, calls)
    found = benchmarking.measure_latency(
        lambda: fast_one, lambda: slow, FEEDS, benchmarking.TimingBudget(fewest=3, most=3)
    )
    assert found.p50_ms == pytest.approx(1)
    assert found.cold_ms == pytest.approx(2)
    assert found.throughput == pytest.approx(1000)
    none = benchmarking.measure_latency(lambda: fast_one, lambda: slow, FEEDS, benchmarking.QUICK_TIMING)
    assert (none.cold_ms, none.throughput) == (None, None)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("reopen", [False, True])
def test_an_interval_knows_of_the_next_process(reopen: bool) -> None:
    """However well the blocks of one process agree."""
    slow, fast_one = Clockwork("reference", 0.004, []), Clockwork("candidate", 0.001, [])
    effort = benchmarking.TimingBudget(fewest=3, most=6, reopen=reopen)
    interval = benchmarking.measure_latency(fast_one.open, slow.open, FEEDS, effort).speedup_interval
    assert np.log(interval.high / 4) == pytest.approx(1.96 * latency.BETWEEN) == -np.log(interval.low / 4)


def pair(own: float, reference: float, others: float = 0.0) -> latency.Pair:
    """Two blocks of equal calls."""
    return latency.Pair(np.full(9, own), np.full(9, reference), others)


def test_what_was_taken_while_others_computed_or_the_clock_was_throttled_is_not_calm() -> None:
    calm = [pair(1.0, 4.0), pair(1.01, 3.99), pair(1.02, 4.2)]
    assert latency.calm_pairs([*calm, pair(1.0, 4.0, others=0.5), pair(1.2, 4.0), pair(1.0, 4.5)]) == calm


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("patience", [0.0, 1000.0])
def test_disturbed_pairs_are_taken_again_or_told(monkeypatch: pytest.MonkeyPatch, patience: float) -> None:
    """The others compute during every second pair, and slow the reference down, which would look like a speed-up."""
    waits = []
    slow, fast_one = Clockwork("reference", 0.004, []), Clockwork("candidate", 0.001, [])

    def taken(self: latency._Desk) -> latency.Pair:
        taken.number += 1  # type: ignore[attr-defined]  # a counter of its own
        busy = taken.number % 2 == 0  # type: ignore[attr-defined]
        return pair(0.001, 0.005 if busy else 0.004, 0.9 if busy else 0.0)

    taken.number = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(latency._Desk, "pair", taken)
    monkeypatch.setattr(noise, "wait_until_quiet", waits.append)
    effort = benchmarking.TimingBudget(fewest=4, most=4, patience=patience, further=False)
    found = benchmarking.measure_latency(fast_one.open, slow.open, FEEDS, effort)
    if patience:
        assert found.speedup == pytest.approx(4)
        assert found.noise == "3 of 7 pairs of blocks were disturbed, and left out"
        assert len(waits) == 3
    else:
        assert found.speedup > 4.1
        assert found.noise == "2 of 4 pairs of blocks were disturbed, and count"
        assert not waits
    assert found.blocks == 4


@pytest.mark.skipif(not noise.COUNTERS.exists(), reason="this system does not count CPU time in /proc/stat")
def test_another_process_that_computes_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        time.sleep(0.3)
        before = noise.Moment.now()
        time.sleep(0.5)
        seen = noise.Moment.now().others_since(before)
        other.kill()
    assert seen > 0.3


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not pin processes to cores")
def test_a_model_stays_on_as_many_cores_as_it_has_threads() -> None:
    before = os.sched_getaffinity(0)
    with noise.pinned(1) as cores:
        assert cores == (1 if len(before) > 1 else None)
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    with noise.pinned(len(before)) as cores:
        assert cores is None
        assert os.sched_getaffinity(0) == before


def test_what_this_process_computes_and_what_the_counters_round_is_nobody_elses() -> None:
    before = noise.Moment(clock=10.0, everybody=100.0, own=5.0)
    assert noise.Moment(clock=12.0, everybody=103.0, own=7.0).others_since(before) == pytest.approx(0.5)
    assert noise.Moment(clock=12.0, everybody=102.2, own=7.0).others_since(before) == 0.0


@pytest.mark.usefixtures("clock")
def test_a_machine_that_is_never_calm_is_waited_for_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody computes, but the memory is busy: there is nothing to wait for, and each further pair costs time."""
    slow, fast_one = Clockwork("reference", 0.004, []), Clockwork("candidate", 0.001, [])
    patience, effort = noise.Patience(), benchmarking.TimingBudget(fewest=4, most=4, patience=10.0, further=False)
    taken: list[float] = []

    def busy(self: latency._Desk) -> latency.Pair:
        Clockwork.now += 1.0
        taken.append(0.004 if not taken else 0.006)
        return pair(0.001, taken[-1])

    monkeypatch.setattr(latency._Desk, "pair", busy)
    spent = []
    for _ in range(3):
        taken.clear()
        benchmarking.measure_latency(fast_one.open, slow.open, FEEDS, effort, patience)
        spent.append(len(taken))
    assert spent[0] >= 10 and spent == sorted(spent, reverse=True) and spent[-1] <= 5
    assert patience.share == 0.125
    monkeypatch.setattr(latency._Desk, "pair", lambda self: pair(0.001, 0.004))
    benchmarking.measure_latency(fast_one.open, slow.open, FEEDS, effort, patience)
    assert patience.share == 1.0  # it is calm again


@pytest.mark.usefixtures("clock")
def test_a_session_is_warm_when_it_does_not_become_faster_any_more() -> None:
    class Waking(Clockwork):
        def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
            self.seconds = max(0.001, 0.9 * self.seconds)
            return super().run(feeds)

    assert latency.warm(Waking("waking", 0.01, []), FEEDS) == pytest.approx(0.001)
    calls: list[str] = []
    latency.warm(Clockwork("awake", 0.001, calls), FEEDS)
    assert len(calls) == 2 * latency.STEADY_CALLS


def test_slow_models_get_shorter_blocks() -> None:
    assert latency.block_calls(0.02, 0.3) == 15
    assert latency.block_calls(1.0, 0.3) == latency.FEWEST_CALLS
    assert latency.block_calls(0.0001, 0.3) == latency.BLOCK_CALLS


def test_lengths_of_the_data_are_timed_as_they_are_spread() -> None:
    lengths = [4] * 90 + [40] * 10
    feeds = benchmarking.latency_feeds(100, 2, "data", lengths, seed=0)
    sizes = [feed["input_ids"].shape for feed in feeds]
    assert sizes.count((2, 4)) == 45
    assert sizes.count((2, 40)) == 5
    assert [feed["input_ids"].shape for feed in benchmarking.latency_feeds(100, 1, 32, lengths, seed=0)] == [(1, 32)]


@pytest.mark.parametrize("batch", [1, 3])
def test_logits_come_back_in_the_order_of_the_rows(batch: int) -> None:
    lengths = [5, 1, 4, 2, 3, 9, 7]

    def echo(feeds: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        rows = np.concatenate([feed["rows"] for feed in feeds])
        return np.stack([rows, rows * 10], axis=1).astype(np.float32)

    logits = benchmarking.logits_of(echo, lambda rows: {"rows": rows}, lengths, batch)
    assert logits[:, 0].tolist() == list(range(7))


def test_a_score_is_paired_with_the_reference() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    reference = one_hot(np.where(rng.random(400) < 0.9, labels, 1 - labels))
    worse = one_hot(np.where(rng.random(400) < 0.05, 1 - reference.argmax(1), reference.argmax(1)))
    quality = scoring.score("test", worse, reference, labels, fast("accuracy"), seed=0)
    assert quality.drop == pytest.approx(np.mean(reference.argmax(1) == labels) - quality.quality)
    assert quality.drop_interval.low <= quality.drop <= quality.drop_interval.high
    assert quality.disagreement == pytest.approx(np.mean(worse.argmax(1) != reference.argmax(1)))
    unpaired = 1.96 * np.sqrt(2 * 0.9 * 0.1 / 400)
    assert quality.drop_interval.high - quality.drop_interval.low < 2 * unpaired  # what pairing is for
    same = scoring.score("test", reference, reference, labels, fast("accuracy"), seed=0)
    assert (same.drop, same.drop_interval.low, same.drop_interval.high) == (0, 0, 0)


def test_a_soft_drop_has_less_luck_in_it() -> None:
    """Studies of a teacher and a candidate that are both noisy views of one truth; the drop over all rows is the goal."""
    rng = np.random.default_rng(0)
    rows, studies = 400, 40
    truth = rng.normal(0, 2, (studies + 50) * rows)  # log odds of label 1
    labels = (rng.random(len(truth)) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    teacher, candidate = (truth + rng.normal(0, spread, len(truth)) for spread in (0.3, 0.9))
    goal = np.mean((teacher > 0) == labels) - np.mean((candidate > 0) == labels)
    hard, soft = [], []
    for study in range(studies):
        part = slice(study * rows, (study + 1) * rows)
        logits, reference = (np.stack([np.zeros(rows), 3 * x[part]], axis=1) for x in (candidate, teacher))
        quality = scoring.score("test", logits, reference, labels[part], fast("accuracy"), seed=0)
        assert quality.soft_drop is not None and quality.soft_drop_interval is not None
        assert quality.soft_drop_interval.low < quality.soft_drop < quality.soft_drop_interval.high
        hard.append(quality.drop - goal)
        soft.append(quality.soft_drop - goal)
    assert np.std(soft) < 0.8 * np.std(hard)
    assert abs(np.mean(soft)) < 0.006  # of a standard deviation of 0.02 a study


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews_correlation"])
def test_a_soft_drop_is_nothing_against_oneself_and_takes_any_metric_and_number_of_labels(metric: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    reference = rng.normal(size=(200, 5)) + 3 * np.eye(5)[labels]
    worse = reference + rng.normal(0, 1.5, (200, 5))
    assert scoring.soft_drop(reference, reference, labels, fast(metric), seed=0)[0] == 0
    assert scoring.soft_drop(5 * reference, reference, labels, fast(metric), seed=0)[0] == pytest.approx(0, abs=0.01)
    assert scoring.soft_drop(worse, reference, labels, fast(metric), seed=0)[0] > 0.02


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[labels]


def test_memory_and_size_are_those_of_the_artifact(tmp_path: Path) -> None:
    folder = deployed(tiny_candidate(), tmp_path / "a")
    feed = {"input_ids": np.ones((1, 8), np.int64)}
    memory, start = benchmarking.fresh_process(runtime, folder, feed, threads=1)
    assert memory is not None
    assert 0 < memory < 60
    assert start is not None and start > 0
    assert benchmarking.size_mb(runtime, folder) == (folder / "model.onnx").stat().st_size / 1e6
    assert benchmarking.fresh_process(runtime, tmp_path / "nothing", feed, threads=1) == (None, None)


def test_conditions_name_the_machine_but_not_its_host() -> None:
    import platform

    found = benchmarking.conditions("onnxruntime", 1, 1, 32, 0)
    assert found["runtime_version"]
    assert found["cpu"]
    assert platform.node() not in str(found)


# ---- what moves between measurements -------------------------------------------------------------------------------


def told(speedup: float, half: float = 0.02) -> Latency:
    ends = Interval(low=speedup * np.exp(-half), high=speedup * np.exp(half))
    return Latency(p50_ms=1, p95_ms=1, reference_p50_ms=speedup, speedup=speedup, speedup_interval=ends, blocks=5)


def test_intervals_hold_what_the_reference_moves_by(tmp_path: Path) -> None:
    """A reference that is a seventh slower now and then, beside a model that is not: measurements still agree."""
    chance, drift = np.random.default_rng(0), Drift(tmp_path / "drift" / "a.txt")
    found = []
    for _ in range(300):
        speedup = 8 * float(np.exp(chance.normal(0, 0.14)))
        found.append(with_drift(told(speedup), drift.note(speedup)))
    ends = np.log([(one.speedup_interval.low, one.speedup_interval.high) for one in found[100:]])  # it is known by then
    middle, half = ends.mean(axis=1), (ends[:, 1] - ends[:, 0]) / 2
    agree = np.abs(middle[:, None] - middle) <= np.hypot(half[:, None], half)
    assert agree[np.triu_indices(len(middle), 1)].mean() > 0.93
    assert found[-1].noise is not None and "own latency moved by 1" in found[-1].noise


def test_a_reference_that_keeps_still_widens_nothing(tmp_path: Path) -> None:
    drift = Drift(tmp_path / "a.txt")
    spreads = [drift.note(milliseconds) for milliseconds in (5.0, 9.0, 5.1, 5.0)]
    assert spreads == [0, 0, 0, 0]  # of so few nothing is known
    assert drift.note(5.05) == pytest.approx(np.std(np.log([5.0, 9.0, 5.1, 5.0, 5.05]), ddof=1))
    still = Drift(tmp_path / "b.txt")
    for milliseconds in (5.0, 5.02, 4.98, 5.01, 5.0):
        spread = still.note(milliseconds)
    assert 0 < spread < 0.02 and with_drift(told(8), spread) == told(8)


def test_a_study_widens_by_what_its_own_teacher_took(tmp_path: Path) -> None:
    """Measurements one after the other, on a device whose reference takes another time in each."""
    shared = SimpleNamespace(tokenizer=range(30), lengths=lambda split: (), plan=SimpleNamespace(seed=0))
    devices = StudyDevices.__new__(StudyDevices)  # without a teacher and data, which timing does not need
    devices.shared, devices.store = shared, Store(tmp_path)  # type: ignore[assignment]  # as above
    devices.references = {"onnxruntime": "0" * 64}
    times = iter([5.0, 8.0, 5.0, 8.0, 5.0])
    timed = lambda *_: Timing(latency=told(next(times)), memory_mb=None, start_ms=None, conditions={})  # noqa: E731
    target: Any = SimpleNamespace(device=Device(tokens=8), cpu=lambda: "a CPU", time=timed)
    found = [
        devices._time(StudyDevice(name=None, target=target), tmp_path, benchmarking.QUICK_TIMING) for _ in range(5)
    ]
    widths = [np.log(one.latency.speedup_interval.high / one.latency.speedup_interval.low) / 2 for one in found]
    assert widths[:4] == pytest.approx([0.02] * 4)  # of so few nothing is known
    assert widths[4] > 0.4 and "own latency moved by 26 %" in found[4].conditions["noise"]
