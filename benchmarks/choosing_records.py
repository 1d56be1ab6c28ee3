"""The records of the benchmark of choosing: all models of a search, what was measured of them, and their predictions on test.

Predictions are stored as differences from the teacher's, compressed: most are zeros.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.core.agreement import Agreement
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow

RECORDS = Path(__file__).with_name("choosing.json")
SETS = ("sst2", "trec", "banking77", "ag_news", "mrpc")
LEAST_TEST_ROWS = 1000  # sets with fewer are reported, not counted
FIELDS = (
    "trial", "rung", "quality", "drop", "drop_interval", "soft_drop", "soft_drop_interval", "disagreement",
    "confidence_drop", "latency_ms", "speedup", "speedup_interval", "size_mb", "seconds", "sha256",
)  # fmt: skip


@dataclass(frozen=True)
class SearchRecord:
    """One search: its models, the teacher's among them as trial 0, and the labels of test."""

    set: str
    seed: int
    minutes: float  # the budget
    examples: int  # rows of validation
    rows: tuple[TrialRow, ...]
    labels: np.ndarray  # (test rows,)
    predictions: dict[int, np.ndarray]  # trial -> (test rows,)
    machine: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the search."""
        return f"{self.set}-{self.seed}"

    def losses(self, trial: int) -> np.ndarray:
        """Return what a model loses on each row of test (rows,): 1 where only the teacher is right, −1 where only the model."""
        right, expected = self.predictions[trial] == self.labels, self.predictions[0] == self.labels
        return np.asarray(expected.astype(np.float64) - right)


def read_records(path: Path = RECORDS) -> list[SearchRecord]:
    """Return all records."""
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return [_read(record) for record in values]


def append_record(record: SearchRecord, path: Path = RECORDS) -> None:
    """Add a record, one model a line."""
    known = [_written(old) for old in read_records(path)]
    text = ",\n".join(_as_text(values) for values in [*known, _written(record)])
    unfinished = path.with_suffix(".new")
    unfinished.write_text(f"[\n{text}\n]\n", encoding="utf-8")
    os.replace(unfinished, path)


def _as_text(values: dict[str, Any]) -> str:
    models = ",\n  ".join(json.dumps(model) for model in values["models"])
    head = ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items() if key != "models")
    return f'{{{head}, "models": [\n  {models}\n]}}'


def _written(record: SearchRecord) -> dict[str, Any]:
    teacher = record.predictions[0]
    models = []
    for row in record.rows:
        values = {name: getattr(row, name) for name in FIELDS}
        agreement = None if row.agreement is None else asdict(row.agreement)
        base = record.labels if row.trial == 0 else teacher
        predictions = _pack((record.predictions[row.trial] - base).astype(np.int16))
        models.append({**values, "recipe": row.recipe.as_dict(), "agreement": agreement, "predictions": predictions})
    return {
        "set": record.set, "seed": record.seed, "minutes": record.minutes, "examples": record.examples,
        "machine": record.machine, "labels": _pack(record.labels.astype(np.int16)), "models": models,
    }  # fmt: skip


def _read(values: dict[str, Any]) -> SearchRecord:
    labels = _unpack(values["labels"])
    predictions: dict[int, np.ndarray] = {}
    rows = []
    for model in sorted(values["models"], key=lambda model: model["trial"]):
        fields = {name: tuple(value) if isinstance(value := model.get(name), list) else value for name in FIELDS}
        agreement = None if model["agreement"] is None else Agreement(**model["agreement"])
        recipe = Recipe.from_stored(model["recipe"])
        rows.append(TrialRow(**fields, state="complete", reason=None, recipe=recipe, agreement=agreement))
        base = labels if model["trial"] == 0 else predictions[0]
        predictions[model["trial"]] = base + _unpack(model["predictions"])
    return SearchRecord(
        values["set"], values["seed"], values["minutes"], values["examples"], tuple(rows), labels, predictions,
        values["machine"],
    )  # fmt: skip


def _pack(values: np.ndarray) -> str:
    return base64.b85encode(zlib.compress(values.tobytes(), 9)).decode()


def _unpack(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), np.int16)
