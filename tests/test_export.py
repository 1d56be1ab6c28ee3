"""Exporting a trial: the measured artifact, a model card that runs, nothing private, and nothing overwritten."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import autocompress
from autocompress.actions.card_data import CardData, base_name
from autocompress.actions.export_folder import check_target
from autocompress.actions.locate import locate
from autocompress.actions.model_card import model_card
from autocompress.actions.verify import ADDED_FILES, SUMS_FILE, verify_folder
from autocompress.core.errors import UsageError
from autocompress.core.stage import digest
from autocompress.interfaces.cli import main
from autocompress.storage.artifact_store import Store
from autocompress.storage.checksums import file_sha256, manifest
from autocompress.study import StudyView
from autocompress.study.trial_details import read_trial_details
from tests.conftest import Searched

pytest_plugins = ["tests.exported"]


def test_export_copies_the_measured_artifact(exported: Path, view: StudyView, best: int) -> None:
    row = view.row(best)
    assert row.sha256 is not None and view.artifacts is not None
    artifact = {name: sha256 for name, sha256 in manifest(exported).items() if name not in ADDED_FILES}
    assert digest(artifact) == row.sha256
    assert artifact == manifest(Store(view.artifacts).artifact(row.sha256))
    measured = json.loads((exported / "measurement.json").read_text())
    assert measured["row"] == row.as_json()
    assert measured["artifact_sha256"] == row.sha256
    assert measured["measurement"]["conditions"]["threads"] == 1
    assert measured["test"]["quality"] == row.test_quality


def test_sums_file_agrees_with_sha256sum(exported: Path) -> None:
    lines = (exported / SUMS_FILE).read_text().splitlines()
    assert {line[66:] for line in lines} == {path.name for path in exported.iterdir()} - {SUMS_FILE}
    assert all(file_sha256(exported / line[66:]) == line[:64] for line in lines)
    if tool := shutil.which("sha256sum"):
        subprocess.run([tool, "-c", "--strict", SUMS_FILE], cwd=exported, check=True, capture_output=True)


PREDICT = """
import json, sys
import numpy as np, onnxruntime
from tokenizers import Tokenizer
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession("model.onnx", options)
tokenizer = Tokenizer.from_file("tokenizer.json")
predicted = []
for text in json.load(sys.stdin):
    encoded = tokenizer.encode(text)
    feeds = {"input_ids": np.array([encoded.ids]), "attention_mask": np.array([encoded.attention_mask])}
    predicted.append(int(session.run(None, feeds)[0][0].argmax()))
print(json.dumps({"predicted": predicted, "modules": list(sys.modules)}))
"""


def test_export_predicts_as_scored_without_torch_and_autocompress(exported: Path, searched: Searched) -> None:
    rows = (searched.folder / "data" / "validation.csv").read_text().splitlines()[1:]
    texts, labels = zip(*(row.rsplit(",", 1) for row in rows), strict=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PREDICT],
        cwd=exported,
        env=environment,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert not {"torch", "autocompress", "transformers"} & set(answer["modules"])
    scored = json.loads((exported / "measurement.json").read_text())["measurement"]["quality"]
    assert scored["predictions_sha256"] == sha256_of(answer["predicted"])
    assert np.mean(np.array(answer["predicted"]) == np.array(labels, int)) == scored["quality"]


def sha256_of(predicted: list[int]) -> str:
    import hashlib

    return hashlib.sha256(np.array(predicted).astype("<i8").tobytes()).hexdigest()


def test_model_card_code_runs_as_printed(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code[1]], cwd=exported, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in {"0", "1"}  # a label's name


def test_model_card_holds_the_measurements(exported: Path, view: StudyView, best: int) -> None:
    card, row = (exported / "README.md").read_text(), view.row(best)
    assert row.speedup is not None and row.size_mb is not None and row.test_quality is not None
    for text in (
        row.describe(),
        "`teacher`",
        "accuracy on test (80 rows)",
        f"{row.test_quality:.4f}",
        f"{row.speedup:.2f}× as fast",
        f"{row.size_mb:.2f} MB",
        "default session, 1 thread(s), batch 1, 8 tokens",
        "95 % intervals",
        "up to 32 tokens",
        "| head_sparsity | 0.5 |",
    ):
        assert text in card


def test_export_holds_nothing_private(exported: Path, searched: Searched) -> None:
    private = [str(searched.folder), str(Path.home()), str(Path(autocompress.__file__).parent), os.sep + "tmp" + os.sep]
    names = [name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 4]  # "root" is in "square root"
    for path in exported.iterdir():
        content = path.read_bytes()
        for text in [*private, *names]:
            assert text.encode() not in content, f"{path.name} holds {text}"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("./teachers/bert-sst2/", "bert-sst2"),
        ("owner/model", "model"),
        ("package:gt_mini/model", "model"),
        ("C:\\a\\b", "b"),
    ],
)
def test_base_name_keeps_the_last_part_only(model: str, name: str) -> None:
    assert base_name(model) == name


def test_model_card_names_pairs_and_hub_teachers(
    exported: Path, searched: Searched, view: StudyView, best: int
) -> None:
    located = locate(str(searched.file), None)
    details = read_trial_details(located.url, located.name, best)
    task = {**view.plan["task"], "columns": {"text_pair": "b"}, "metric": "/home/somebody/mine.py"}
    plan = {**view.plan, "task": task, "teacher": {"model": "owner/some-model"}}
    card = model_card(CardData(view=replace(view, plan=plan), row=view.row(best), details=details), exported)
    assert 'encode("The first text.", "The second text.")' in card
    assert "somebody" not in card
    assert "mine on test" in card
    assert "`some-model`" in card


def test_export_never_overwrites_other_files(searched: Searched, best: int, copied: Path, tmp_path: Path) -> None:
    arguments = ["export", str(searched.file), "--trial", str(best), "-q", "--to"]
    before = manifest(copied)
    assert main([*arguments, str(copied)]) == 2
    assert manifest(copied) == before
    assert main([*arguments, str(copied / "model.onnx")]) == 2  # a file
    assert main([*arguments, str(copied), "--force"]) == 0  # an earlier export is replaced
    assert verify_folder(copied).passed
    (copied / "notes.txt").write_text("mine")
    assert main([*arguments, str(copied), "--force"]) == 0  # what no export wrote is set aside
    assert verify_folder(copied).passed
    assert (tmp_path / "copied.before-1" / "notes.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"copied", "copied.before-1"}


def test_check_target_protects_needed_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(UsageError, match="must not replace"):
        check_target(tmp_path / "a", force=True, needed=[tmp_path / "a" / "b"])
    monkeypatch.chdir(tmp_path / "a" / "b")
    with pytest.raises(UsageError, match="must not replace"):
        check_target(tmp_path / "a", force=True)
    check_target(Path(), force=False)  # the working folder, which is empty


def test_export_refuses_trials_without_a_model(
    searched: Searched, view: StudyView, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    stopped = next((row.trial for row in view.rows if row.state == "stopped"), None)
    arguments = ["export", str(folder / "tiny.yaml"), "--to", str(tmp_path / "out"), "--trial"]
    if stopped is not None:
        assert main([*arguments, str(stopped)]) == 2
        assert "has no model: its state is stopped" in capsys.readouterr().err
    row = view.front[0]
    artifact = Store(folder / "tiny" / "artifacts").artifact(row.sha256 or "")
    changed = artifact / "model.onnx"
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    assert main([*arguments, str(row.trial)]) == 1
    assert "is not what was measured" in capsys.readouterr().err
    shutil.rmtree(artifact)
    assert main([*arguments, str(row.trial)]) == 1
    assert "was removed from the artifacts" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_export_measures_on_test_first(
    searched: Searched, view: StudyView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    from autocompress.search import final_evaluation

    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    trial = view.front[0].trial
    with sqlite3.connect(folder / "tiny" / "study.db") as database:
        database.execute("DELETE FROM ac_measurements WHERE split = 'test'")
    database.close()
    measured_trials = []
    monkeypatch.setattr(
        final_evaluation,
        "measure_tests",
        lambda plan, trials, *, display, offline: measured_trials.append(list(trials)),
    )
    arguments = ["export", str(folder / "tiny.yaml"), "--to", str(tmp_path / "out"), "-q", "--trial", str(trial)]
    assert main(arguments) == 1  # the measurement failed, so no model is exported
    assert measured_trials == [[trial]]
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert main(arguments) == 0
    assert "accuracy on test (80 rows)" in (tmp_path / "out" / "README.md").read_text()
    assert locate(str(folder / "tiny.yaml"), None).view().row(trial).test_quality == view.front[0].test_quality


def test_recall_of_labels_averages_to_quality(exported: Path, view: StudyView, best: int) -> None:
    exported_json = json.loads((exported / "measurement.json").read_text())
    recall = exported_json["facts"]["recall"]
    model, teacher = np.mean(list(recall.values()), axis=0)  # the rows are half of each label
    assert len(recall) == 2
    assert model == pytest.approx(exported_json["measurement"]["quality"]["quality"])
    assert view.teacher is not None and teacher == pytest.approx(view.teacher.quality)
