"""Quality on a split: drops by paired bootstrap, hard and soft."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autocompress.benchmarking import scoring
from autocompress.core.measurement import Quality
from autocompress.data.ragged import Ragged
from autocompress.metrics import METRICS, Metric, Score
from autocompress.tasks import Tokens
from autocompress.tasks.regression import TASK as REGRESSION
from autocompress.tasks.text_classification import TASK


def tokens_of(labels: np.ndarray) -> Tokens:
    return Tokens(tuple(np.arange(3) for _ in labels), None, Ragged.one_each(labels))


def score(logits: np.ndarray, reference: np.ndarray, labels: np.ndarray, metric: str = "accuracy") -> Quality:
    outputs = [Ragged.one_each(values) for values in (logits, reference)]
    return scoring.score("test", TASK, *outputs, tokens_of(labels), METRICS.load(metric), seed=0)


def soft_drop(logits: np.ndarray, reference: np.ndarray, labels: np.ndarray, metric: str) -> float:
    outputs = [Ragged.one_each(values) for values in (logits, reference)]
    drop, _ = scoring.soft_drop(TASK, *outputs, tokens_of(labels), METRICS.load(metric), seed=0)
    assert drop is not None
    return drop


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[labels]


def test_score_pairs_the_candidate_with_the_reference() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    reference = one_hot(np.where(rng.random(400) < 0.9, labels, 1 - labels))
    worse = one_hot(np.where(rng.random(400) < 0.05, 1 - reference.argmax(1), reference.argmax(1)))
    quality = score(worse, reference, labels)
    assert quality.drop == pytest.approx(np.mean(reference.argmax(1) == labels) - quality.quality)
    assert quality.drop_interval.low <= quality.drop <= quality.drop_interval.high
    assert quality.disagreement == pytest.approx(np.mean(worse.argmax(1) != reference.argmax(1)))
    unpaired = 1.96 * np.sqrt(2 * 0.9 * 0.1 / 400)
    assert quality.drop_interval.high - quality.drop_interval.low < 2 * unpaired  # pairing narrows the interval
    same = score(reference, reference, labels)
    assert (same.drop, same.drop_interval.low, same.drop_interval.high) == (0, 0, 0)


def test_soft_drop_varies_less_than_the_drop() -> None:
    """Studies of a teacher and a candidate that are both noisy views of one truth; the drop over all rows is the goal."""
    rng = np.random.default_rng(0)
    rows, studies = 400, 40
    truth = rng.normal(0, 2, (studies + 50) * rows)  # log odds of label 1
    labels = (rng.random(len(truth)) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    teacher, candidate = (truth + rng.normal(0, spread, len(truth)) for spread in (0.3, 0.9))
    goal = np.mean((teacher > 0) == labels) - np.mean((candidate > 0) == labels)
    hard_errors, soft_errors = [], []
    for study in range(studies):
        part = slice(study * rows, (study + 1) * rows)
        logits, reference = (np.stack([np.zeros(rows), 3 * x[part]], axis=1) for x in (candidate, teacher))
        quality = score(logits, reference, labels[part])
        assert quality.soft_drop is not None and quality.soft_drop_interval is not None
        assert quality.soft_drop_interval.low < quality.soft_drop < quality.soft_drop_interval.high
        hard_errors.append(quality.drop - goal)
        soft_errors.append(quality.soft_drop - goal)
    assert np.std(soft_errors) < 0.8 * np.std(hard_errors)
    assert abs(np.mean(soft_errors)) < 0.006  # the standard deviation is 0.02 per study


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews_correlation"])
def test_soft_drop_is_zero_against_itself_for_any_metric_and_number_of_labels(metric: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    reference = rng.normal(size=(200, 5)) + 3 * np.eye(5)[labels]
    worse = reference + rng.normal(0, 1.5, (200, 5))
    assert soft_drop(reference, reference, labels, metric) == 0
    assert soft_drop(5 * reference, reference, labels, metric) == pytest.approx(0, abs=0.01)
    assert soft_drop(worse, reference, labels, metric) > 0.02


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews_correlation"])
def test_counts_give_the_intervals_of_scoring_every_resample_anew(metric: str) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 120)
    reference = rng.normal(size=(120, 4)) + 2 * np.eye(4)[labels]
    worse = reference + rng.normal(0, 1.5, (120, 4))
    counted = METRICS.load(metric)
    outputs = [Ragged.one_each(values) for values in (worse, reference)]
    fast, plain = (
        scoring.score("test", TASK, *outputs, tokens_of(labels), some, seed=0)
        for some in (counted, replace(counted, counts=None, from_counts=None))
    )
    assert fast.drop == plain.drop
    for a, b in ((fast.drop_interval, plain.drop_interval), (fast.soft_drop_interval, plain.soft_drop_interval)):
        assert a is not None and b is not None
        assert (a.low, a.high) == pytest.approx((b.low, b.high), abs=1e-12)
    plain_drops = resampled(labels, worse.argmax(1), reference.argmax(1), counted.compute)
    assert fast.drop_interval.low == pytest.approx(np.percentile(plain_drops, 2.5), abs=1e-12)


def resampled(labels: np.ndarray, predicted: np.ndarray, expected: np.ndarray, compute: Score) -> list[float]:
    """Return the drops of the bootstrap, one resample after the other."""
    rng, drops = np.random.default_rng(0), []
    for _ in range(scoring.RESAMPLES):
        rows = rng.integers(0, len(labels), len(labels))
        drops.append(compute(expected[rows], labels[rows]) - compute(predicted[rows], labels[rows]))
    return drops


def test_numbers_have_a_drop_with_an_interval_and_no_soft_drop() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(3, 1.5, 300).astype(np.float32)
    reference = (labels + rng.normal(0, 0.5, 300))[:, None].astype(np.float32)
    worse = (reference + rng.normal(0, 1.0, (300, 1))).astype(np.float32)
    for name in ("spearman", "pearson"):
        quality = scoring.score(
            "test", REGRESSION, Ragged.one_each(worse), Ragged.one_each(reference), tokens_of(labels),
            METRICS.load(name), seed=0,
        )  # fmt: skip
        assert 0.05 < quality.drop_interval.low < quality.drop < quality.drop_interval.high < 0.5
        assert quality.soft_drop is None and quality.soft_drop_interval is None
        assert 0.8 < quality.disagreement < 1.0


def test_a_metric_where_less_is_better_gives_a_quality_where_more_is() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(3, 1.5, 200).astype(np.float32)
    reference = (labels + rng.normal(0, 0.5, 200))[:, None].astype(np.float32)
    worse = (labels + rng.normal(0, 1.0, 200))[:, None].astype(np.float32)
    error = Metric(
        name="error",
        reads=("numbers",),
        compute=lambda a, b: float(abs(a - b).mean()),
        higher_is_better=False,
        point=0.1,
    )
    quality = scoring.score(
        "test", REGRESSION, Ragged.one_each(worse), Ragged.one_each(reference), tokens_of(labels), error, seed=0
    )
    assert quality.quality == pytest.approx(-0.1 * abs(worse[:, 0] - labels).mean())  # a point is 0.1: 0.01 of quality
    assert quality.quality + quality.drop == pytest.approx(-0.1 * abs(reference[:, 0] - labels).mean())
    assert 0 < quality.drop_interval.low < quality.drop < quality.drop_interval.high
