"""A study in which a formula replaces the trial pipeline: the same rows, in milliseconds.

As a program (`python formula.py FOLDER URL sleep|loop`) it is a search that can be killed.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autocompress.config import StudyPlan
from autocompress.core.domain import Anatomy
from autocompress.core.measurement import Interval, Latency, Measurement, Quality
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome
from autocompress.search.executors import Message
from autocompress.search.jobs import Job, JobResult, RunSettings
from autocompress.space.parsing import resolve_space
from autocompress.space.space import Space
from autocompress.study import Study
from autocompress.training.time_fitting import TrainingRates

SPACE = {
    "depth": [1, 2, 3, 4, 5, 6],
    "attention": ["full", "local"],
    "attention_window": [16, 32],
    "head_sparsity": {"low": 0, "high": 0.75, "step": 0.25},
    "ffn_sparsity": {"low": 0, "high": 0.9, "step": 0.1},
    "weight_bits": [32, 8, 4],
    "embedding_bits": [32, 8, 4],
}
TEACHER_MS, TEACHER_MB, ROWS = 4.0, 91.0, 872


def plan_in(folder: Path, **changes: Any) -> StudyPlan:
    """Return a plan whose study is stored in that folder."""
    values = {
        "study": "toy",
        "teacher": {"model": "./teacher"},
        "task": {"data": {"train": "train.csv"}},
        "space": SPACE,
        "constraints": {"max_drop": 0.03, "max_size_mb": 60},
        "storage": f"sqlite:///{folder / 'study.db'}",
        "artifacts": {"path": folder / "artifacts"},
    }
    return StudyPlan(**{**values, **changes})


def space() -> Space:
    """Return the space of `plan_in`, for a teacher of 6 layers."""
    return resolve_space(SPACE, Anatomy(6), {}, "space")


def open_study(folder: Path, **changes: Any) -> Study:
    """Create or resume the study."""
    return Study.open(plan_in(folder, **changes), space())


def teacher_outcome() -> Outcome:
    """Return the outcome of trial 0."""
    return complete(drop=0.0, speedup=1.0, size_mb=TEACHER_MB, sha256="0" * 64, disagreement=0.0)


RUNG_FACTORS = (3.0, 1.5, 1.0)  # of the drop, at each rung


def outcome_of(recipe: Recipe, rung: int = 2) -> Outcome:
    """Return the outcome of a candidate: stopped where it is over 60 MB, else complete."""
    bits = {32: 1.0, 8: 0.4, 4: 0.6}[recipe["weight_bits"]]
    work = (recipe["depth"] or 6) / 6 * (0.4 * (1 - recipe["head_sparsity"]) + 0.6 * (1 - recipe["ffn_sparsity"]))
    size = 45 * recipe["embedding_bits"] / 32 + 46 * work * recipe["weight_bits"] / 32
    if size > 60:
        return Outcome(state="stopped", reason=f"size {size:.1f} MB is over max_size_mb 60; not trained", seconds=0.5)
    drop = (
        0.05 * (1 - (recipe["depth"] or 6) / 6) ** 2
        + 0.03 * recipe["head_sparsity"] ** 2
        + 0.03 * recipe["ffn_sparsity"] ** 3
    )
    noise = random.Random(recipe.key).gauss(0, 0.004)
    drop *= RUNG_FACTORS[rung]
    return complete(
        drop + noise,
        1 / (work * bits + 0.05),
        size,
        f"{recipe.key[:-1]}{rung}" if rung < 2 else recipe.key,
        0.01 + 2 * drop,
    )


def complete(drop: float, speedup: float, size_mb: float, sha256: str, disagreement: float) -> Outcome:
    """Return a complete outcome with these numbers."""
    return Outcome(
        state="complete",
        measurement=Measurement(
            quality=quality("validation", drop, disagreement),
            latency=Latency(
                p50_ms=TEACHER_MS * 1.1 / speedup,  # the machine is 10 % slower than when the teacher was measured
                p95_ms=TEACHER_MS * 1.21 / speedup,
                reference_p50_ms=TEACHER_MS * 1.1,
                speedup=speedup,
                speedup_interval=Interval(low=0.95 * speedup, high=1.05 * speedup),
                blocks=20,
            )
            if sha256 != "0" * 64
            else Latency(
                p50_ms=TEACHER_MS,
                p95_ms=TEACHER_MS * 1.1,
                reference_p50_ms=TEACHER_MS,
                speedup=1.0,
                speedup_interval=Interval(low=0.99, high=1.01),
                blocks=20,
            ),
            size_mb=size_mb,
            memory_mb=100.0,
            conditions={"runtime": "formula", "threads": 1, "cpu_flags": ["avx2"]},
        ),
        sha256=sha256,
        seconds=1.5,
        stages={"recovery": 1.0, "measuring": 0.5},
        facts={"parameters": 1000, "heads": [4, 4]},
    )


def quality(split: str, drop: float, disagreement: float = 0.02) -> Quality:
    """Return a quality with this drop."""
    return Quality(
        split=split,
        quality=0.9 - drop,
        drop=drop,
        drop_interval=Interval(low=drop - 0.016, high=drop + 0.016),
        disagreement=disagreement,
        examples=ROWS,
        predictions_sha256="f" * 64,
    )


class FormulaExecutor:
    """Replaces the executor of a search: every job is done at once."""

    def __init__(self, plan: StudyPlan, offline: bool = True) -> None:
        self.capacity = plan.workers
        self._results: dict[int, JobResult] = {}  # by slot

    def submit(self, job: Job, settings: RunSettings) -> int:
        """Do the job."""
        slot = next(slot for slot in range(self.capacity) if slot not in self._results)
        self._results[slot] = self.run(job)
        return slot

    def run(self, job: Job) -> JobResult:
        """Return the result of a job."""
        if job.kind == "teacher":
            return JobResult(outcome=teacher_outcome())
        if job.kind == "trial":
            assert job.recipe is not None
            seconds = (1.0, 5.0, 25.0)[job.rung]
            return JobResult(outcome=replace(outcome_of(job.recipe, job.rung), seconds=seconds))
        if job.kind == "calibration":
            return JobResult(rates=TrainingRates(label=0.001, supernet_step=0.1, step=0.05, rows=1000, further=0))
        return JobResult(quality=quality("test", 0.01) if job.kind == "test" else None)

    def poll(self, seconds: float) -> Mapping[int, Message]:
        """Return all results."""
        results, self._results = self._results, {}
        return results

    def cancel(self, slot: int) -> None:
        """Forget the job of a slot."""
        self._results.pop(slot, None)

    def close(self) -> None:
        """Forget all jobs."""
        self._results = {}


def search(study: Study, trials: int, pause: float = 0.0) -> None:
    """Ask and tell until `trials` trials are finished; the lease must be held."""
    if study.teacher() is None:
        study.record_teacher(teacher_outcome())
    while study.budget_spent().trials < trials or study.budget_spent().retries_waiting:
        asked = study.ask()
        print(f"asked {asked.number}", flush=True)
        duplicate = study.find_duplicate(asked.recipe)
        time.sleep(pause)
        study.tell(asked.number, asked.recipe, duplicate or outcome_of(asked.recipe))


def main() -> None:
    """Search in a process: `sleep` never ends a trial after the third, `loop` runs a thousand trials."""
    folder, url, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    study = open_study(folder, storage=url)
    with study.lease():
        print("leased", flush=True)
        if kind == "loop":
            search(study, 1000)
        search(study, 3)
        print(f"asked {study.ask().number}", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main()
