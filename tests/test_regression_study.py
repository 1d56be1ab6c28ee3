"""A study of the regression task, end to end: searched, reported, exported, verified, loaded in both forms."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress import load_model
from autocompress.actions.inspect_data import recognize_task
from autocompress.data.file_formats import SourceReader, column_names
from autocompress.tasks.regression import TASK
from tests.conftest import run_cli
from tests.test_text_classification import plan_of
from tests.tiny import tiny_rows, tiny_study, write_rows

pytestmark = pytest.mark.slow


def number_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows whose number is 10 where good words outnumber bad ones, and about 30 where bad ones do."""
    rng = np.random.default_rng(seed)
    return [
        {"text": row["text"], "score": round(30 - 20 * row["label"] + float(rng.normal(0, 1)), 2)}
        for row in tiny_rows(count, seed)
    ]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A searched study of numbers."""
    folder = tmp_path_factory.mktemp("numbers")
    for seed, (split, count) in enumerate({"train": 240, "validation": 80, "test": 80}.items()):
        write_rows(folder / "rows" / f"{split}.csv", number_rows(count, seed))
    file = tiny_study(
        folder,
        task={
            "kind": "regression",
            "data": {split: f"rows/{split}.csv" for split in ("train", "validation", "test")},
            "columns": {"label": "score"},
            "max_tokens": 32,
        },
        space={"depth": [1, 2], "ffn_sparsity": [0, 0.5], "weight_bits": [32, 8]},
        budget={"trials": 3},
    )
    run_cli("search", file.name, cwd=folder)
    return file


def test_the_teacher_and_its_candidates_order_the_rows(study: Path) -> None:
    trials = json.loads(run_cli("trials", study.name, "--json", cwd=study.parent).stdout)["trials"]
    assert trials[0]["quality"] > 0.5  # spearman of the teacher
    complete = [row for row in trials if row["state"] == "complete" and row["trial"]]
    assert complete and all(row["drop_interval"] is not None for row in complete)
    front = json.loads(run_cli("front", study.name, "--json", cwd=study.parent).stdout)["trials"]
    assert front


def test_export_verifies_and_predicts_in_the_units_of_the_data(study: Path, tmp_path: Path) -> None:
    run_cli("export", study.name, "--trial", 0, "--to", tmp_path / "onnx", cwd=study.parent)
    done = run_cli("verify", tmp_path / "onnx", "--json", cwd=study.parent)
    assert json.loads(done.stdout)["passed"]
    assert json.loads((tmp_path / "onnx" / "recipe.json").read_text())["task"] == "regression"
    card = (tmp_path / "onnx" / "README.md").read_text(encoding="utf-8")
    code = card.partition("```python\n")[2].partition("```")[0]
    printed = subprocess.run(
        [sys.executable, "-c", code.replace("A text to rate.", "good fine great film")],
        cwd=tmp_path / "onnx", capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert 0 < float(printed) < 25  # 10 at best, the mean is 20

    run_cli("export", study.name, "--trial", 0, "--form", "transformers", "--to", tmp_path / "form", cwd=study.parent)
    model = load_model(tmp_path / "form")
    assert model.config.num_labels == 1
    from transformers import AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(tmp_path / "form")("good fine great film", return_tensors="pt")
    assert float(model(**inputs).logits[0, 0]) == pytest.approx(float(printed), abs=1e-2)


def test_report_shows_errors_by_size_and_the_rows_that_got_worse(study: Path, tmp_path: Path) -> None:
    run_cli("report", study.name, "--to", tmp_path / "report.html", "--no-ablation", cwd=study.parent)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Results by size of the label, on test" in page and "Texts whose error grew most" in page
    assert (
        "more than a tenth of the standard deviation" in page and "McNemar" not in page
    )  # there is no right and wrong


def test_compare_knows_no_right_and_wrong(study: Path) -> None:
    done = run_cli("compare", f"{study.name}:0", f"{study.name}:1", "--json", cwd=study.parent)
    compared = json.loads(done.stdout)
    assert compared["p_value"] is None and compared["only_a_right"] is None
    assert 0 <= compared["disagreement"] <= 1
    assert "McNemar" not in run_cli("compare", f"{study.name}:0", f"{study.name}:1", cwd=study.parent).stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("task.metric=accuracy", "but regression predicts numbers; available: pearson"),
        ("task.data.train=rows/words.csv", "rows/words.csv, row 2: score must be a number, but is 'much'"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_in_one_sentence_before_any_work(
    study: Path, tmp_path: Path, change: str, message: str
) -> None:
    for name in ("teacher", "rows"):
        shutil.copytree(study.parent / name, tmp_path / name)
    file = Path(shutil.copy(study, tmp_path))
    (tmp_path / "rows" / "words.csv").write_text("text,score\na,0.5\nb,much\n")
    done = run_cli("search", file.name, "--set", change, cwd=tmp_path, code=2)
    assert message.rpartition("/")[2] in done.stderr.replace("\n", " ")
    assert not list(tmp_path.rglob("study.db")) and not list(tmp_path.rglob("stages"))


def test_stsb_is_recognized_and_read(tmp_path: Path) -> None:
    folder = os.environ.get("AUTOCOMPRESS_DATA")
    if not folder:
        pytest.skip("AUTOCOMPRESS_DATA names no folder with real data sets")
    files = {split: Path(folder) / "stsb" / f"{split}.parquet" for split in ("train", "validation", "test")}
    columns = tuple(column_names(files["train"]))
    values = next(iter(SourceReader("DATA", (), columns).read_local(files["train"]))).columns
    task, recognized = recognize_task(values, {})
    assert (task.name, recognized.columns) == (
        "regression", {"text": "sentence1", "text_pair": "sentence2", "label": "label"},
    )  # fmt: skip
    data = TASK.read(plan_of({split: str(file) for split, file in files.items()}, recognized.columns))
    assert (len(data.train), len(data.test)) == (5749, 1379)
    assert (data.train.labels.values.min(), data.train.labels.values.max()) == (0, 5)
