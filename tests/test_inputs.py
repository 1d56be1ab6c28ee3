"""The inputs that artifacts are timed and scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from autocompress import benchmarking
from autocompress.benchmarking.inputs import unit_outputs


def test_latency_feeds_have_the_lengths_of_the_data() -> None:
    lengths = [4] * 90 + [40] * 10
    feeds = benchmarking.latency_feeds(100, 2, "data", lengths, seed=0)
    sizes = [feed["input_ids"].shape for feed in feeds]
    assert sizes.count((2, 4)) == 45
    assert sizes.count((2, 40)) == 5
    assert [feed["input_ids"].shape for feed in benchmarking.latency_feeds(100, 1, 32, lengths, seed=0)] == [(1, 32)]


def test_any_dozen_latency_feeds_represent_the_lengths_of_the_data() -> None:
    lengths = np.random.default_rng(0).lognormal(3, 0.6, 2000).astype(int)
    sizes = [feed["input_ids"].shape[1] for feed in benchmarking.latency_feeds(100, 1, "data", lengths, seed=0)]
    for start in range(50):
        dozen = [sizes[(start + call) % 50] for call in range(12)]
        assert np.median(dozen) == pytest.approx(np.median(lengths), rel=0.18)
        assert np.mean(dozen) == pytest.approx(np.mean(lengths), rel=0.18)


@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_of_keeps_the_order_of_the_rows(batch: int) -> None:
    lengths = [5, 1, 4, 2, 3, 9, 7]

    def echo(feeds: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        rows = np.concatenate([feed["rows"] for feed in feeds])
        return np.stack([rows, rows * 10], axis=1).astype(np.float32)

    outputs = benchmarking.outputs_of(echo, lambda rows: {"rows": rows}, lengths, np.ones(7, np.int64), batch)
    assert outputs.values[:, 0].tolist() == list(range(7))


@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_of_tokens_leave_out_the_padding(batch: int) -> None:
    lengths = [5, 1, 4, 2, 3]

    def batch_of(rows: np.ndarray) -> dict[str, np.ndarray]:
        longest = max(lengths[row] for row in rows)
        mask = np.array([[place < lengths[row] for place in range(longest)] for row in rows], np.int64)
        return {"attention_mask": mask, "numbers": rows[:, None] * 10 + np.arange(longest)}

    def echo(feeds: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        return np.concatenate([unit_outputs(feed["numbers"][:, :, None].astype(np.float32), feed) for feed in feeds])

    outputs = benchmarking.outputs_of(echo, batch_of, lengths, np.array(lengths), batch)
    assert outputs.counts.tolist() == lengths
    assert outputs.values[:, 0].tolist() == [row * 10 + place for row in range(5) for place in range(lengths[row])]
    assert outputs.take(np.array([2, 0])).values[:, 0].tolist() == [20, 21, 22, 23, 0, 1, 2, 3, 4]
