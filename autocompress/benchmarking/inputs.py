"""What an artifact is run on: made-up ids to time it, a split's rows to score it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Feeds = Sequence[Mapping[str, np.ndarray]]  # batches of a model's inputs


def latency_feeds(
    vocabulary: int, batch: int, tokens: int | str, lengths: Sequence[int], seed: int
) -> list[dict[str, np.ndarray]]:
    """Inputs to time: one of a fixed shape, or (`tokens: data`) 50 whose lengths are spread as the data's are."""
    rng = np.random.default_rng(seed)
    if tokens == "data":
        spread = np.quantile(np.asarray(lengths), (np.arange(50) + 0.5) / 50, method="nearest")
        sizes = [int(size) for size in rng.permutation(spread)]
    else:
        sizes = [int(tokens)]
    feeds = []
    for size in sizes:
        ids = rng.integers(0, vocabulary, (batch, size))
        feeds.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})
    return feeds


def logits_of(
    run: Callable[[Sequence[dict[str, np.ndarray]]], np.ndarray],
    batch_of: Callable[[np.ndarray], dict[str, np.ndarray]],
    lengths: Sequence[int],
    batch: int,
) -> np.ndarray:
    """Logits (rows, labels) of a whole split, in batches of the device's size, rows of like length together.

    `run` gives the logits of all batches, one after another. At batch 1 nothing is padded. The batch matters: dynamic
    quantization takes one scale for all that is in it.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    found = run([batch_of(order[start : start + batch]) for start in range(0, len(order), batch)])
    logits = np.empty(found.shape, np.float32)
    logits[order] = found
    return logits
