"""Quality on a split: drops by paired bootstrap, hard and soft."""

from __future__ import annotations

import numpy as np
import pytest

from autocompress.benchmarking import scoring
from autocompress.metrics import score_function


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[labels]


def test_score_pairs_the_candidate_with_the_reference() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    reference = one_hot(np.where(rng.random(400) < 0.9, labels, 1 - labels))
    worse = one_hot(np.where(rng.random(400) < 0.05, 1 - reference.argmax(1), reference.argmax(1)))
    quality = scoring.score("test", worse, reference, labels, score_function("accuracy"), seed=0)
    assert quality.drop == pytest.approx(np.mean(reference.argmax(1) == labels) - quality.quality)
    assert quality.drop_interval.low <= quality.drop <= quality.drop_interval.high
    assert quality.disagreement == pytest.approx(np.mean(worse.argmax(1) != reference.argmax(1)))
    unpaired = 1.96 * np.sqrt(2 * 0.9 * 0.1 / 400)
    assert quality.drop_interval.high - quality.drop_interval.low < 2 * unpaired  # pairing narrows the interval
    same = scoring.score("test", reference, reference, labels, score_function("accuracy"), seed=0)
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
        quality = scoring.score("test", logits, reference, labels[part], score_function("accuracy"), seed=0)
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
    assert scoring.soft_drop(reference, reference, labels, score_function(metric), seed=0)[0] == 0
    assert scoring.soft_drop(5 * reference, reference, labels, score_function(metric), seed=0)[0] == pytest.approx(
        0, abs=0.01
    )
    assert scoring.soft_drop(worse, reference, labels, score_function(metric), seed=0)[0] > 0.02
