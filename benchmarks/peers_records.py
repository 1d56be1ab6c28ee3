"""The rows of the peers benchmark, in peers.json beside this file: one for each set, seed and peer."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RECORDS = Path(__file__).with_name("peers.json")
COUNTED = ("sst2", "trec", "banking77", "ag_news")  # the sets of the goals
SETS = (*COUNTED, "mrpc")  # mrpc has no test split with labels: its dev set serves as test, and is reported only
SEEDS = (0, 1, 2)
Key = tuple[str, int, str]


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one peer on one set with one seed; the fields are keys of the JSON file."""

    set: str
    seed: int
    peer: str
    reason: str | None = None  # why there is no result
    seconds: float | None = None  # to build the model
    size_mb: float | None = None  # of the files that the runtime loads
    accuracy: float | None = None  # on test
    drop: float | None = None  # the teacher's accuracy minus this one
    drop_interval: tuple[float, float] | None = None  # 95 %, paired bootstrap over the rows
    latency_ms: float | None = None  # of the model alone; null for a peer without layers
    speedup: float | None = None  # over the fp32 teacher on onnxruntime, in the same rounds
    speedup_interval: tuple[float, float] | None = None
    text_ms: float | None = None  # from a text to its label
    text_speedup: float | None = None
    text_speedup_interval: tuple[float, float] | None = None
    predictions: str | None = None  # labels of the test rows: base85 of zlib of uint8
    notes: str | None = None  # what the peer chose
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What names the row."""
        return self.set, self.seed, self.peer

    @property
    def is_lost(self) -> bool:
        """Whether the peer failed."""
        return self.reason is not None

    @property
    def is_timed(self) -> bool:
        """Whether the model was timed."""
        return self.text_ms is not None


def read_rows(path: Path | None = None) -> dict[Key, Row]:
    """Return all recorded rows by their keys."""
    path = RECORDS if path is None else path
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    rows = [Row(**{name: _freeze(value) for name, value in entry.items()}) for entry in entries]
    return {row.key: row for row in rows}


def write_rows(rows: Iterable[Row], path: Path | None = None) -> None:
    """Add rows to the records; each replaces an earlier one with the same key."""
    path = RECORDS if path is None else path
    _write_all(read_rows(path) | {row.key: row for row in rows}, path)


def remove_lost_rows(sets: Iterable[str], seeds: Iterable[int], peers: Iterable[str], path: Path | None = None) -> int:
    """Remove the rows of peers that failed, so that the next run tries them again; return their number."""
    path = RECORDS if path is None else path
    known, chosen = read_rows(path), {(name, seed, peer) for name in sets for seed in seeds for peer in peers}
    kept = {key: row for key, row in known.items() if not (row.is_lost and key in chosen)}
    if len(kept) < len(known):
        _write_all(kept, path)
    return len(known) - len(kept)


def pack_labels(labels: np.ndarray) -> str:
    """Return label ids as text."""
    return base64.b85encode(zlib.compress(labels.astype(np.uint8).tobytes(), 9)).decode()


def unpack_labels(text: str) -> np.ndarray:
    """Return the label ids (rows,) of a text."""
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), np.uint8).astype(np.int64)


def _freeze(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _write_all(rows: dict[Key, Row], path: Path) -> None:
    lines = ",\n".join(json.dumps(asdict(rows[key])) for key in sorted(rows))
    unfinished = path.with_suffix(".new")
    unfinished.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    os.replace(unfinished, path)
