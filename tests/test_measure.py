"""Latency in alternating blocks, quality by paired bootstrap, memory in a fresh process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autocompress import measure, scoring
from autocompress.metrics import fast
from autocompress.runtimes import onnxruntime as runtime
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only sessions take time, whatever else the machine does."""
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: Clockwork.now))


FEEDS = [{"input_ids": np.ones((1, 4), np.int64)}]


@pytest.mark.usefixtures("clock")
def test_blocks_alternate_and_the_ratio_is_the_speedup() -> None:
    calls: list[str] = []
    slow, fast_one = Clockwork("reference", 0.004, calls), Clockwork("candidate", 0.001, calls)
    latency = measure.measure_latency(fast_one, slow, FEEDS, measure.Effort(fewest=3, most=6))
    runs = [name for place, name in enumerate(calls) if place == 0 or calls[place - 1] != name]
    assert runs[1:] == ["reference", "candidate"] * latency.blocks  # the first calls found the length of a block
    assert latency.speedup_interval.low <= latency.speedup <= latency.speedup_interval.high
    assert latency.speedup == pytest.approx(4)
    assert latency.reference_p50_ms == pytest.approx(4)
    assert latency.p50_ms == pytest.approx(1) == latency.p95_ms


@pytest.mark.usefixtures("clock")
def test_slow_models_get_shorter_blocks() -> None:
    assert measure._calls(Clockwork("slow", 0.02, []), FEEDS, 0.3) < 20
    assert measure._calls(Clockwork("quick", 0.0001, []), FEEDS, 0.3) == measure.BLOCK_CALLS


def test_lengths_of_the_data_are_timed_as_they_are_spread() -> None:
    lengths = [4] * 90 + [40] * 10
    feeds = measure.latency_feeds(100, 2, "data", lengths, seed=0)
    sizes = [feed["input_ids"].shape for feed in feeds]
    assert sizes.count((2, 4)) == 45
    assert sizes.count((2, 40)) == 5
    assert [feed["input_ids"].shape for feed in measure.latency_feeds(100, 1, 32, lengths, seed=0)] == [(1, 32)]


@pytest.mark.parametrize("batch", [1, 3])
def test_logits_come_back_in_the_order_of_the_rows(batch: int) -> None:
    lengths = [5, 1, 4, 2, 3, 9, 7]

    def echo(feeds: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        rows = np.concatenate([feed["rows"] for feed in feeds])
        return np.stack([rows, rows * 10], axis=1).astype(np.float32)

    logits = measure.logits_of(echo, lambda rows: {"rows": rows}, lengths, batch)
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
    memory = measure.peak_memory_mb(runtime, folder, feed, threads=1)
    assert memory is not None
    assert 0 < memory < 60
    assert measure.size_mb(runtime, folder) == (folder / "model.onnx").stat().st_size / 1e6
    assert measure.peak_memory_mb(runtime, tmp_path / "nothing", feed, threads=1) is None


def test_conditions_name_the_machine_but_not_its_host() -> None:
    import platform

    found = measure.conditions("onnxruntime", 1, 1, 32, 0)
    assert found["runtime_version"]
    assert found["cpu"]
    assert platform.node() not in str(found)
