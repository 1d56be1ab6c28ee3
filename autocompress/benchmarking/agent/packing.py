"""Pack batches of inputs for a device: without padding, and in runs that fit into one request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from autocompress.benchmarking.inputs import Feeds

MAX_RUN_NUMBERS, MAX_RUN_ROWS = 1_500_000, 100_000  # of one run: token ids (types not counted), rows


class PackedFields(TypedDict):
    """The fields of a `RunRequest` that describe its inputs."""

    batch: int
    lengths: tuple[int, ...]
    types: bool
    padding: int


@dataclass(frozen=True)
class PackedFeeds:
    """Batches of inputs as a run takes them: the tokens without padding, one row after another."""

    fields: PackedFields
    body: bytes

    @classmethod
    def pack(cls, feeds: Feeds) -> PackedFeeds:
        """Pack batches that are padded at the end and, but for the last one, equally large."""
        masks = [feed.get("attention_mask", np.ones_like(feed["input_ids"])).astype(bool) for feed in feeds]
        ids = [feed["input_ids"][mask] for feed, mask in zip(feeds, masks, strict=True)]
        padding = [feed["input_ids"][~mask] for feed, mask in zip(feeds, masks, strict=True)]
        types = [
            feed["token_type_ids"][mask] for feed, mask in zip(feeds, masks, strict=True) if "token_type_ids" in feed
        ]
        has_types = any(part.any() for part in types)
        fields: PackedFields = {
            "batch": len(masks[0]),
            "lengths": tuple(int(length) for mask in masks for length in mask.sum(axis=1)),
            "types": has_types,
            "padding": next((int(part[0]) for part in padding if part.size), 0),
        }
        numbers = np.concatenate([*ids, *(types if has_types else [])])
        return cls(fields, numbers.astype("<i4").tobytes())


def split_into_runs(feeds: Feeds) -> Iterator[tuple[int, Feeds]]:
    """Yield consecutive batches that fit into one run, each time with the index of the first batch."""
    start, rows, numbers = 0, 0, 0
    for index, feed in enumerate(feeds):
        ids = feed["input_ids"]
        rows, numbers = rows + len(ids), numbers + ids.size
        if index > start and (rows > MAX_RUN_ROWS or numbers > MAX_RUN_NUMBERS):
            yield start, feeds[start:index]
            start, rows, numbers = index, len(ids), ids.size
    yield start, feeds[start:]
