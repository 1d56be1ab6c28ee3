"""Make a case from a study: export the teacher and the picked model by the command line, and write rows and inputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers_cases import Case, read_case, write_case

if TYPE_CHECKING:
    from autocompress.actions.locate import StudyLocation
    from autocompress.config import StudyPlan

MAX_DROP, PREFER = 0.01, "latency_ms"
DEFAULT_FINE_TUNING = {"epochs": 3.0, "learning_rate": 1e-4, "batch": 32.0}  # where the teacher came fine-tuned
INPUT_SEED = 0
TESTED_ON_DEV = ("mrpc",)


def make_case(studies: Path, data_set: str, seed: int, folder: Path) -> Case:
    """Return the case of a set and seed; it is made where the folder does not hold it. UsageError without its study."""
    if (folder / "case.json").is_file():
        return read_case(folder)
    located = _locate(studies / f"{data_set}-{seed}.yaml", data_set)
    folder.mkdir(parents=True, exist_ok=True)
    from autocompress.interfaces.presenters import NoTrialFits, choose

    view, plan = located.view(), located.plan("this benchmark")
    check_splits(plan, data_set)
    try:
        picked = choose(view, {"max_drop": MAX_DROP}, PREFER).row
    except NoTrialFits:
        picked = None
    _export(located, 0, "onnx", folder / "teacher-onnx")
    _export(located, 0, "transformers", folder / "teacher-transformers")
    if picked is not None:
        _export(located, picked.trial, "onnx", folder / "picked")
    labels = _write_rows(plan, folder)
    record = view.fine_tuning
    settings = DEFAULT_FINE_TUNING if record is None else DEFAULT_FINE_TUNING | dict(record.settings)
    case = Case(
        folder=folder,
        data_set=data_set,
        seed=seed,
        base=plan.teacher.model,
        labels=labels,
        has_pairs=plan.task.columns.get("text_pair") is not None,
        max_tokens=plan.task.max_tokens,
        threads=plan.device.threads,
        fine_tuning={name: float(settings[name]) for name in DEFAULT_FINE_TUNING},
        search_seconds=view.seconds - (0.0 if record is None else record.seconds),
        picked=None if picked is None else f"trial {picked.trial}: {picked.describe()}",
    )
    write_case(case)
    return case


def check_splits(plan: StudyPlan, data_set: str) -> None:
    """Check that a set without labels for its test split is tested on its dev set, which nothing else has read."""
    from autocompress.core.errors import UsageError

    data = plan.task.data
    if data_set in TESTED_ON_DEV and (data.validation is not None or Path(str(data.test)).stem != "validation"):
        raise UsageError(
            f"{plan.place('task.data')}: {data_set} has no test split; name its dev set, validation.parquet, as test, and"
            " leave out validation, which is then cut from train"
        )


def _locate(file: Path, data_set: str) -> StudyLocation:
    from autocompress.actions.locate import locate
    from autocompress.core.errors import UsageError

    if not file.is_file():
        raise UsageError(
            f"{file}: this study file does not exist; write it with `autocompress init MODEL $AUTOCOMPRESS_DATA/{data_set}"
            f" --to {file}`, then run `autocompress search {file}`"
        )
    located = locate(str(file), None)
    try:
        has_teacher = located.view().teacher is not None
    except UsageError:
        has_teacher = False
    if not has_teacher:
        raise UsageError(f"{file}: this study has no results yet; make them with `autocompress search {file}`")
    return located


def _export(located: StudyLocation, trial: int, form: str, folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "autocompress",
        "export",
        *located.arguments(),
        "--trial",
        str(trial),
        "--form",
        form,
    ]
    subprocess.run([*command, "--to", str(folder), "--force", "--offline"], check=True, stdout=subprocess.DEVNULL)


def _write_rows(plan: StudyPlan, folder: Path) -> int:
    """Write the rows of all splits and the inputs to time; return the number of labels."""
    from autocompress.benchmarking import latency_feeds
    from autocompress.search.study_data import StudyData

    data = StudyData(plan, offline=True)
    splits = {split: data.splits.split(split) for split in ("train", "validation", "test")}
    splits["unlabelled"] = data.splits.unlabelled
    rows = {
        name: {
            "texts": list(zip(split.texts, split.pairs or [None] * len(split.texts), strict=True)),
            "labels": np.asarray(split.labels.values).tolist(),
        }
        for name, split in splits.items()
    }
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    lengths = data.lengths("validation")
    feeds = latency_feeds(len(data.tokenizer), 1, plan.device.tokens, lengths, INPUT_SEED)
    np.savez(folder / "feeds.npz", *(feed["input_ids"] for feed in feeds))
    return len(data.splits.label_names)
