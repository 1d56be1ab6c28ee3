"""A run that a host requests from a device: a JSON header, followed by token ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from autocompress import benchmarking
from autocompress.runtimes import DEFAULT_RUNTIME, RUNTIMES, portable_runtimes

MAX_REQUEST_ROWS, MAX_ROW_TOKENS, MAX_THREADS = 200_000, 4_096, 256


class RunRequest(BaseModel):
    """A run, as its JSON describes it; token ids follow it, one int32 after another (little-endian)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["logits", "latency"]
    model: str = Field(pattern=r"^[0-9a-f]{64}$")
    reference: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")  # its blocks alternate with the model's
    runtime: str = DEFAULT_RUNTIME
    threads: int = Field(default=1, ge=1, le=MAX_THREADS)
    batch: int = Field(default=1, ge=1, le=1024)
    lengths: tuple[int, ...] = Field(min_length=1, max_length=MAX_REQUEST_ROWS)  # tokens of each row
    types: bool = False  # as many token types follow the ids
    padding: int = Field(default=0, ge=0)
    effort: benchmarking.TimingBudget = benchmarking.TimingBudget()
    fresh: bool = True  # whether a latency run also measures a fresh process

    @field_validator("runtime")
    @classmethod
    def _check_installed(cls, value: str) -> str:
        if value not in portable_runtimes() or RUNTIMES.load(value).available() is None:
            raise ValueError(f"the runtime {value[:40]!r} is not installed on this device")
        return value

    def split_rows(self, body: bytes) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return ids and token types of each row; ValueError where their number is not that of `lengths`."""
        if min(self.lengths) < 1 or max(self.lengths) > MAX_ROW_TOKENS:
            raise ValueError(
                f"lengths: {min(self.lengths)} to {max(self.lengths)}; a row must have 1 to {MAX_ROW_TOKENS:,} tokens"
            )
        total = sum(self.lengths)
        expected_bytes = 4 * total * (1 + self.types)
        if len(body) != expected_bytes:
            raise ValueError(f"lengths announce {expected_bytes:,} bytes of token ids, but {len(body):,} arrived")
        numbers = np.frombuffer(body, "<i4").astype(np.int64)
        edges = np.cumsum(self.lengths)[:-1]
        ids, types = numbers[:total], numbers[total:] if self.types else np.zeros(total, np.int64)
        return np.split(ids, edges), np.split(types, edges)

    def make_feeds(self, body: bytes) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of the model's inputs, each padded to its longest row."""
        ids, types = self.split_rows(body)
        for start in range(0, len(ids), self.batch):
            rows = ids[start : start + self.batch]
            shape = (len(rows), max(map(len, rows)))
            input_ids = np.full(shape, self.padding, np.int64)
            mask, token_types = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            for index, row in enumerate(rows):
                input_ids[index, : len(row)], mask[index, : len(row)] = row, 1
                token_types[index, : len(row)] = types[start + index]
            yield {"input_ids": input_ids, "attention_mask": mask, "token_type_ids": token_types}
