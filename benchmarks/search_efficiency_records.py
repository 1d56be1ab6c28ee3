"""The runs of the search-efficiency benchmark and their recorded results, in search_efficiency.json beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).with_name("search_efficiency.json")
SEEDS = (0, 1, 2)
LOOPS = {"loop-tpe": "tpe", "loop-nsga2": "nsga2", "loop-random": "random"}  # arm -> sampler
PARTS = {"without super-net": "supernet", "without rungs": "rungs", "without refit": "refit", "without starters": "starters",
         "without reuse": "reuse"}  # arm -> key of `engine`  # fmt: skip


@dataclass(frozen=True)
class DataSet:
    """A data set and the time of a search on it."""

    data: Mapping[str, Any]
    columns: Mapping[str, str]
    minutes: float  # of the engine's search and of the comparison at equal time


SETS = {
    "sst2": DataSet(
        {**{split: f"${{AUTOCOMPRESS_DATA}}/sst2/{split}.parquet" for split in ("train", "validation", "test")},
         "max_train_rows": 4000},
        {"text": "sentence", "label": "label"},
        minutes=6,
    ),
    "trec": DataSet(
        {split: f"${{AUTOCOMPRESS_DATA}}/trec/{split}.parquet" for split in ("train", "validation", "test")},
        {"text": "text", "label": "label"},
        minutes=5,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The identity of one search."""

    data_set: str
    arm: str  # teacher (fine-tunes it for the others) | engine | a loop | a part that is off
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data_set}-{self.arm.replace(' ', '_')}-{self.seed}"


@dataclass(frozen=True)
class Record:
    """The result of a run; the fields are keys of the JSON file."""

    set: str
    arm: str
    seed: int
    cpu: str
    trials: int  # ended trials, duplicates included
    seconds: int  # of the search
    curve: tuple[tuple[float, float], ...]  # seconds, hypervolume on test

    @property
    def run(self) -> Run:
        return Run(self.set, self.arm, self.seed)

    def hypervolume_at(self, seconds: float) -> float:
        """Return the hypervolume at a moment."""
        return next((value for moment, value in reversed(self.curve) if moment <= seconds), 0.0)

    def find_goal_moments(self, goal: float) -> tuple[float, float] | None:
        """Return the first moment with this hypervolume, and the moment from which on it lasts.

        They differ because validation may replace a trial of the front by one that is worse on test. Null if the
        hypervolume at the end is below the goal.
        """
        below = [moment for moment, value in self.curve if value < goal]
        reached = [moment for moment, value in self.curve if value >= goal]
        lasting = [moment for moment in reached if not below or moment > below[-1]]
        return (reached[0], lasting[0]) if lasting else None


def list_runs() -> list[Run]:
    """List every search; those behind the main claims come first."""
    main = [Run(name, arm, seed) for seed in SEEDS for name in SETS for arm in ("engine", "loop-tpe")]
    equal_time = [Run(name, arm, seed) for seed in SEEDS for name in SETS for arm in ("loop-random", "loop-nsga2")]
    parts = [Run("trec", arm, seed) for seed in SEEDS for arm in PARTS]
    return [*main, *equal_time, *parts]


def read_records() -> dict[Run, Record]:
    """Read the results of all runs so far, from any machine."""
    entries = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else []
    records = [Record(**{**entry, "curve": tuple(map(tuple, entry["curve"]))}) for entry in entries]
    return {record.run: record for record in records}


def write_record(record: Record) -> None:
    """Store a result; it replaces an earlier one of the same run."""
    known = read_records() | {record.run: record}
    lines = [json.dumps(asdict(known[run])) for run in list_runs() if run in known]
    RECORDS.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
