"""The inputs that artifacts are timed and scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from autocompress import benchmarking


def test_latency_feeds_have_the_lengths_of_the_data() -> None:
    lengths = [4] * 90 + [40] * 10
    feeds = benchmarking.latency_feeds(100, 2, "data", lengths, seed=0)
    sizes = [feed["input_ids"].shape for feed in feeds]
    assert sizes.count((2, 4)) == 45
    assert sizes.count((2, 40)) == 5
    assert [feed["input_ids"].shape for feed in benchmarking.latency_feeds(100, 1, 32, lengths, seed=0)] == [(1, 32)]


@pytest.mark.parametrize("batch", [1, 3])
def test_logits_of_keeps_the_order_of_the_rows(batch: int) -> None:
    lengths = [5, 1, 4, 2, 3, 9, 7]

    def echo(feeds: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        rows = np.concatenate([feed["rows"] for feed in feeds])
        return np.stack([rows, rows * 10], axis=1).astype(np.float32)

    logits = benchmarking.logits_of(echo, lambda rows: {"rows": rows}, lengths, batch)
    assert logits[:, 0].tolist() == list(range(7))
