"""Latency in alternating blocks, and the noise of other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autocompress import benchmarking
from autocompress.benchmarking import block_pairs, latency, noise


class FakeSession:
    """A session that advances the clock by a fixed time and notes its calls in a common list."""

    now = 0.0  # seconds on the clock of all sessions

    def __init__(self, name: str, seconds: float, calls: list[str]) -> None:
        self.name, self.seconds, self.calls = name, seconds, calls

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        self.calls.append(self.name)
        FakeSession.now += self.seconds
        return np.zeros((1, 2))

    def open(self) -> FakeSession:
        """Return a new session of the same model."""
        self.calls.append(f"open {self.name}")
        return self


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only sessions take time, whatever else the machine does."""
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: FakeSession.now))
    monkeypatch.setattr(noise, "COUNTERS", Path("/there is no such file"))


FEEDS = [{"input_ids": np.ones((1, 4), np.int64)}]


def make_pair(candidate: float, *references: float, busy_cores: float = 0.0) -> block_pairs.BlockPair:
    """Blocks of equal calls."""
    return block_pairs.BlockPair(
        np.full(9, candidate), tuple(np.full(9, seconds) for seconds in references), busy_cores
    )


# ---- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("reopen", [False, True])
def test_measure_latency_alternates_blocks_and_returns_their_ratio(reopen: bool) -> None:
    calls: list[str] = []
    slow, fast = FakeSession("reference", 0.004, calls), FakeSession("candidate", 0.001, calls)
    budget = benchmarking.TimingBudget(fewest=3, most=6, reopen=reopen, further=False)
    result = benchmarking.measure_latency(fast.open, slow.open, FEEDS, budget)
    runs = [name for index, name in enumerate(calls) if index == 0 or calls[index - 1] != name]
    opening = ["open candidate", "open reference", "candidate"]  # both are warmed up
    blocks = ["reference", "candidate"]
    assert runs == ((opening + blocks) * result.blocks if reopen else opening + blocks * result.blocks)
    assert result.speedup == pytest.approx(4)
    assert result.reference_p50_ms == pytest.approx(4)
    assert result.p50_ms == pytest.approx(1) == result.p95_ms
    assert result.noise is None


@pytest.mark.usefixtures("clock")
def test_measure_latency_adds_cold_caches_and_throughput_where_the_budget_says_so() -> None:
    class CachedSession(FakeSession):
        """Twice as slow after another model ran, and in proportion to the rows."""

        def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
            cold = not self.calls or self.calls[-1] != self.name
            FakeSession.now += self.seconds * (cold + len(feeds["input_ids"]) - 1)
            return super().run(feeds)

    calls: list[str] = []
    slow, fast = CachedSession("reference", 0.004, calls), CachedSession("candidate", 0.001, calls)
    budget = benchmarking.TimingBudget(fewest=3, most=3)
    result = benchmarking.measure_latency(lambda: fast, lambda: slow, FEEDS, budget)
    assert result.p50_ms == pytest.approx(1)
    assert result.cold_ms == pytest.approx(2)
    assert result.throughput == pytest.approx(1000)
    quick = benchmarking.measure_latency(lambda: fast, lambda: slow, FEEDS, benchmarking.QUICK_TIMING)
    assert (quick.cold_ms, quick.throughput) == (None, None)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("reopen", [False, True])
def test_speedup_interval_includes_the_differences_between_processes(reopen: bool) -> None:
    """However well the blocks of one process agree."""
    slow, fast = FakeSession("reference", 0.004, []), FakeSession("candidate", 0.001, [])
    budget = benchmarking.TimingBudget(fewest=3, most=6, reopen=reopen)
    interval = benchmarking.measure_latency(fast.open, slow.open, FEEDS, budget).speedup_interval
    half_width = 1.96 * latency.BETWEEN_PROCESSES
    assert np.log(interval.high / 4) == pytest.approx(half_width) == -np.log(interval.low / 4)


@pytest.mark.usefixtures("clock")
def test_warm_stops_when_a_session_gets_no_faster() -> None:
    class WarmingSession(FakeSession):
        def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
            self.seconds = max(0.001, 0.9 * self.seconds)
            return super().run(feeds)

    assert latency.warm(WarmingSession("warming", 0.01, []), FEEDS) == pytest.approx(0.001)
    calls: list[str] = []
    latency.warm(FakeSession("warm", 0.001, calls), FEEDS)
    assert len(calls) == 2 * latency.STEADY_CALLS


def test_block_calls_are_fewer_for_slow_models() -> None:
    assert latency.block_calls(0.02, 0.3) == 15
    assert latency.block_calls(1.0, 0.3) == latency.MIN_BLOCK_CALLS
    assert latency.block_calls(0.0001, 0.3) == latency.BLOCK_CALLS


# ---- noise -----------------------------------------------------------------------------------------------------------


def test_select_undisturbed_drops_pairs_beside_busy_cores_and_slow_pairs() -> None:
    undisturbed = [make_pair(1.0, 4.0), make_pair(1.01, 3.99), make_pair(1.02, 4.2)]
    disturbed = [make_pair(1.0, 4.0, busy_cores=0.5), make_pair(1.2, 4.0), make_pair(1.0, 4.5)]
    assert block_pairs.select_undisturbed([*undisturbed, *disturbed]) == undisturbed


def test_pairs_are_disturbed_where_the_reference_was_faster_in_earlier_measurements() -> None:
    slow, calm = (
        [make_pair(1.3, 6.0), make_pair(1.31, 6.1), make_pair(1.3, 6.2)],
        [make_pair(1.0, 4.1), make_pair(1.01, 4.0)],
    )
    reference = block_pairs.CalmReference(4.0)
    assert block_pairs.select_undisturbed(slow, reference) == []
    assert block_pairs.select_undisturbed([*slow, *calm], reference) == calm
    assert block_pairs.select_counted([*slow, *calm], 2, reference) == calm
    assert block_pairs.select_counted(slow, 2, reference) == slow  # there is nothing better
    three = [*calm, make_pair(1.0, 4.2)]
    assert block_pairs.select_counted([*slow, *three], 5, reference) == three  # few, but calm


def test_a_pair_is_disturbed_where_the_reference_is_no_longer_calm_at_its_end() -> None:
    calm, ended = make_pair(1.0, 4.0, 4.1), make_pair(1.0, 4.0, 6.0)
    assert block_pairs.select_undisturbed([calm, ended], block_pairs.CalmReference(4.0)) == [calm]
    unknown = block_pairs.CalmReference(float("inf"))
    assert [unknown.note(block) for block in ended.references] == [True, False]  # the fastest block so far is calm
    assert block_pairs.select_undisturbed([calm, ended], unknown) == [calm]
    assert ended.reference.shape == (18,)


def test_the_usual_candidate_of_calm_pairs_does_not_depend_on_their_number() -> None:
    """One block of a hundred is very fast; one of ten was disturbed in its middle."""
    usual = [make_pair(1.0 + 0.002 * (number % 10), 4.0, 4.0) for number in range(90)]
    lucky, disturbed = make_pair(0.85, 4.0, 4.0), make_pair(1.3, 4.0, 4.0)
    assert block_pairs.select_undisturbed([*usual, lucky, disturbed], block_pairs.CalmReference(4.0)) == [*usual, lucky]


def test_on_a_host_that_is_never_idle_the_steady_pairs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[block_pairs.BlockPair] = []
    slow, fast = FakeSession("reference", 0.004, []), FakeSession("candidate", 0.001, [])

    def time_pair(self: latency._SessionPair) -> block_pairs.BlockPair:
        taken.append(make_pair(0.001, 0.012 if len(taken) % 3 == 1 else 0.004, busy_cores=0.9))
        return taken[-1]

    monkeypatch.setattr(latency._SessionPair, "time_pair", time_pair)
    budget = benchmarking.TimingBudget(fewest=3, most=4, patience=0.0, further=False)
    result = benchmarking.measure_latency(fast.open, slow.open, FEEDS, budget)
    assert result.speedup == pytest.approx(4)
    assert result.noise == "4 of 4 pairs of blocks were disturbed, and the 3 fastest included"


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("patience", [0.0, 1000.0])
def test_disturbed_pairs_are_taken_again_or_reported(monkeypatch: pytest.MonkeyPatch, patience: float) -> None:
    """Others compute during every second pair, and slow the reference down, which would look like a speedup."""
    waits: list[float] = []
    taken: list[block_pairs.BlockPair] = []
    slow, fast = FakeSession("reference", 0.004, []), FakeSession("candidate", 0.001, [])

    def time_pair(self: latency._SessionPair) -> block_pairs.BlockPair:
        busy = len(taken) % 2 == 1
        taken.append(make_pair(0.001, 0.005 if busy else 0.004, busy_cores=0.9 if busy else 0.0))
        return taken[-1]

    monkeypatch.setattr(latency._SessionPair, "time_pair", time_pair)
    monkeypatch.setattr(noise, "wait_until_quiet", waits.append)
    budget = benchmarking.TimingBudget(fewest=4, most=4, patience=patience, further=False)
    result = benchmarking.measure_latency(fast.open, slow.open, FEEDS, budget)
    if patience:
        assert result.speedup == pytest.approx(4)
        assert result.noise == "3 of 7 pairs of blocks were disturbed, and left out"
        assert len(waits) == 3
    else:
        assert result.speedup > 4.1
        assert result.noise == "2 of 4 pairs of blocks were disturbed, and included"
        assert not waits
    assert result.blocks == 4


@pytest.mark.usefixtures("clock")
def test_patience_is_halved_after_each_disturbed_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process computes, but the memory is busy: waiting does not help, and each further pair costs time."""
    slow, fast = FakeSession("reference", 0.004, []), FakeSession("candidate", 0.001, [])
    patience = noise.AdaptivePatience()
    budget = benchmarking.TimingBudget(fewest=4, most=4, patience=10.0, further=False)
    taken: list[float] = []

    def time_disturbed_pair(self: latency._SessionPair) -> block_pairs.BlockPair:
        FakeSession.now += 1.0
        taken.append(0.004 if not taken else 0.006)
        return make_pair(0.001, taken[-1])

    monkeypatch.setattr(latency._SessionPair, "time_pair", time_disturbed_pair)
    pairs = []
    for _ in range(3):
        taken.clear()
        benchmarking.measure_latency(fast.open, slow.open, FEEDS, budget, patience)
        pairs.append(len(taken))
    assert pairs[0] >= 10 and pairs == sorted(pairs, reverse=True) and pairs[-1] <= 5
    assert patience.share == 0.125
    monkeypatch.setattr(latency._SessionPair, "time_pair", lambda self: make_pair(0.001, 0.004))
    benchmarking.measure_latency(fast.open, slow.open, FEEDS, budget, patience)
    assert patience.share == 1.0  # the machine is quiet again


@pytest.mark.usefixtures("clock")
def test_blocks_begin_when_the_reference_is_calm_on_whichever_core_that_is() -> None:
    """Another machine on the same host computes beside one core, and slows the small reference down more than the candidate."""
    cores = {"current": 0, "moves": 0}

    class DisturbedSession(FakeSession):
        """Slower on core 0."""

        slowness = 1.0

        def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
            FakeSession.now += (self.slowness - 1.0) * self.seconds if cores["current"] == 0 else 0.0
            return super().run(feeds)

    def move() -> None:
        cores["current"], cores["moves"] = 1 - cores["current"], cores["moves"] + 1

    small, candidate = DisturbedSession("reference", 0.0001, []), DisturbedSession("candidate", 0.001, [])
    small.slowness, candidate.slowness = 1.6, 1.2
    budget = benchmarking.TimingBudget(fewest=3, most=3, patience=1.0, further=False, calm_reference_ms=0.1)
    result = benchmarking.measure_latency(candidate.open, small.open, FEEDS, budget, move=move)
    assert (result.speedup, result.reference_p50_ms) == (pytest.approx(0.1), pytest.approx(0.1))
    assert (result.noise, cores["moves"]) == (None, 1)
    assert result.fastest_reference_ms == pytest.approx(0.1)
    cores["current"] = 0
    result = benchmarking.measure_latency(candidate.open, small.open, FEEDS, budget)  # it cannot move
    assert result.speedup == pytest.approx(0.1 * 1.6 / 1.2)
    assert result.noise == "3 of 3 pairs of blocks were disturbed, and included"


@pytest.mark.usefixtures("clock")
def test_a_first_measurement_looks_for_calm_moments_before_it_begins() -> None:
    """Calm moments are rare: two seconds of ten."""

    class RarelyCalmSession(FakeSession):
        def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
            FakeSession.now += 0.6 * self.seconds * (FakeSession.now % 10.0 < 8.0)
            return super().run(feeds)

    FakeSession.now = 6.0
    small, candidate = RarelyCalmSession("reference", 0.0001, []), FakeSession("candidate", 0.001, [])
    unknown = benchmarking.TimingBudget(
        fewest=3, most=3, patience=10.0, further=False, calm_reference_ms=latency.UNKNOWN_MS
    )
    result = benchmarking.measure_latency(candidate.open, small.open, FEEDS, unknown)
    assert (result.speedup, result.fastest_reference_ms) == (pytest.approx(0.1), pytest.approx(0.1))


@pytest.mark.skipif(not noise.COUNTERS.exists(), reason="this system does not count CPU time in /proc/stat")
def test_moment_sees_another_process_that_computes() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        time.sleep(0.3)
        before = noise.Moment.now()
        time.sleep(0.5)
        busy_cores = noise.Moment.now().others_since(before)
        process.kill()
    assert busy_cores > 0.3


def test_moment_ignores_this_process_and_the_rounding_of_the_counters() -> None:
    before = noise.Moment(clock=10.0, all_processes=100.0, this_process=5.0)
    busy = noise.Moment(clock=12.0, all_processes=103.0, this_process=7.0)
    assert busy.others_since(before) == pytest.approx(0.5)
    assert noise.Moment(clock=12.0, all_processes=102.2, this_process=7.0).others_since(before) == 0.0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not pin processes to cores")
def test_pin_to_cores_uses_one_core_per_thread() -> None:
    before = os.sched_getaffinity(0)
    with noise.pin_to_cores(1) as pinning:
        assert pinning.cores == (1 if len(before) > 1 else None)
        used = set()
        for _ in before:
            assert len(os.sched_getaffinity(0)) == 1
            used |= os.sched_getaffinity(0)
            pinning.move()
        assert used == {core for core in before if noise._processor_of(core) == noise._processor_of(max(before))}
    assert os.sched_getaffinity(0) == before
    with noise.pin_to_cores(len(before)) as pinning:
        assert pinning.cores is None
        pinning.move()
        assert os.sched_getaffinity(0) == before
