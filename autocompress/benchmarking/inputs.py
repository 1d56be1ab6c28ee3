"""Inputs of an artifact: random ids to time it, the rows of a split to score it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autocompress.data.ragged import Ragged

Feeds = Sequence[Mapping[str, np.ndarray]]  # batches of a model's inputs
DATA_LENGTHS = 50  # inputs that represent the lengths of the data
FIRST, STRIDE = 14, 23  # prime to 50: any dozen inputs in a row is spread over all lengths, the first dozen within 4 %


def latency_feeds(
    vocabulary: int, batch: int, tokens: int | str, lengths: Sequence[int], seed: int
) -> list[dict[str, np.ndarray]]:
    """Return random inputs to time: one of a fixed shape or, for `tokens: data`, 50 with the data's quantiles as lengths.

    A slow model is timed on the first few of them only. So their lengths follow one another in strides through the quantiles:
    any dozen of them represents all, while the first dozen of a shuffle made a teacher 20 % faster than it is.
    """
    rng = np.random.default_rng(seed)
    if tokens == "data":
        quantiles = (np.arange(DATA_LENGTHS) + 0.5) / DATA_LENGTHS
        spread = np.quantile(np.asarray(lengths), quantiles, method="nearest")
        sizes = [int(size) for size in spread[(FIRST + STRIDE * np.arange(DATA_LENGTHS)) % DATA_LENGTHS]]
    else:
        sizes = [int(tokens)]
    feeds = []
    for size in sizes:
        ids = rng.integers(0, vocabulary, (batch, size))
        feeds.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})
    return feeds


def outputs_of(
    run: Callable[[Sequence[dict[str, np.ndarray]]], np.ndarray],
    batch_of: Callable[[np.ndarray], dict[str, np.ndarray]],
    lengths: Sequence[int],
    counts: np.ndarray,
    batch: int,
) -> Ragged:
    """Return the outputs (units, width) of a whole split, run in batches of the device's size, sorted by length.

    `run` returns the outputs of all batches, one after another (see `unit_outputs`); `counts` are the units of each row. At
    batch 1 nothing is padded. The batch matters: dynamic quantization takes one scale for everything in it.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    values = run([batch_of(order[start : start + batch]) for start in range(0, len(order), batch)])
    return Ragged(values.astype(np.float32), counts[order]).take(np.argsort(order))


def unit_outputs(outputs: np.ndarray, feed: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return outputs (batch, width) unchanged, and those of tokens (batch, sequence, width) without padding: (units, width)."""
    return outputs if outputs.ndim == 2 else outputs[feed["attention_mask"].astype(bool)]
