"""What a user takes away: it is what was measured, runs by itself, tells nothing private, and notices every change."""

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
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

import autocompress
from autocompress.actions import measure_folder
from autocompress.actions.export_folder import check_target
from autocompress.actions.locate import locate
from autocompress.actions.model_card import CardData, base_name, model_card
from autocompress.actions.verify import BESIDE, SUMS, sums_of, verify_folder
from autocompress.core.errors import UsageError
from autocompress.core.stage import digest
from autocompress.deployment.transformers_form import save_candidate
from autocompress.interfaces.cli import main
from autocompress.storage.artifact_store import Store, file_sha256, manifest
from autocompress.study import StudyView
from autocompress.study.trial_details import read_trial_details
from tests.conftest import Searched
from tests.models import tiny_batch, tiny_candidate
from tests.tiny import FAMILIES, tiny_tokenizer

RECIPES: list[dict[str, Any]] = [
    {"depth": 2, "head_sparsity": 0.5, "ffn_sparsity": 0.6},
    {"attention": "local", "attention_window": 4, "head_sparsity": 0.3},
    {"depth": 1, "attention": "linear", "ffn_sparsity": 0.25},
]


@pytest.fixture(scope="module")
def view(searched: Searched) -> StudyView:
    return locate(str(searched.file), None).view()


@pytest.fixture(scope="module")
def best(view: StudyView) -> int:
    """A trial of the front."""
    return view.front[0].trial


@pytest.fixture(scope="module")
def exported(searched: Searched, best: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial of the front, exported; not to be changed."""
    to = tmp_path_factory.mktemp("exported") / "model"
    assert main(["export", str(searched.file), "--trial", str(best), "--to", str(to), "-q"]) == 0
    return to


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """The same, to be spoiled."""
    return Path(shutil.copytree(exported, tmp_path / "copied"))


# ---- the ONNX form -------------------------------------------------------------------------------------------------


def test_it_is_the_very_artifact(exported: Path, view: StudyView, best: int) -> None:
    row = view.row(best)
    assert row.sha256 is not None and view.artifacts is not None
    own = {name: sha256 for name, sha256 in manifest(exported).items() if name not in BESIDE}
    assert digest(own) == row.sha256
    assert own == manifest(Store(view.artifacts).artifact(row.sha256))
    measured = json.loads((exported / "measurement.json").read_text())
    assert measured["row"] == row.as_json()
    assert measured["artifact_sha256"] == row.sha256
    assert measured["measurement"]["conditions"]["threads"] == 1
    assert measured["test"]["quality"] == row.test_quality


def test_sha256sum_agrees(exported: Path) -> None:
    lines = (exported / SUMS).read_text().splitlines()
    assert {line[66:] for line in lines} == {path.name for path in exported.iterdir()} - {SUMS}
    assert all(file_sha256(exported / line[66:]) == line[:64] for line in lines)
    if tool := shutil.which("sha256sum"):
        subprocess.run([tool, "-c", "--strict", SUMS], cwd=exported, check=True, capture_output=True)


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


def test_without_torch_and_autocompress_it_predicts_what_was_scored(exported: Path, searched: Searched) -> None:
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


def test_the_model_card_runs_as_printed(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code[1]], cwd=exported, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in {"0", "1"}  # a label's name


def test_the_model_card_tells_what_counts(exported: Path, view: StudyView, best: int) -> None:
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


def test_nothing_private_is_in_it(exported: Path, searched: Searched) -> None:
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
def test_a_teacher_goes_by_its_last_name(model: str, name: str) -> None:
    assert base_name(model) == name


def test_pairs_and_hub_teachers_are_told_so(exported: Path, searched: Searched, view: StudyView, best: int) -> None:
    located = locate(str(searched.file), None)
    details = read_trial_details(located.url, located.name, best)
    task = {**view.plan["task"], "columns": {"text_pair": "b"}, "metric": "/home/somebody/mine.py"}
    plan = {**view.plan, "task": task, "teacher": {"model": "owner/some-model"}}
    card = model_card(CardData(view=replace(view, plan=plan), row=view.row(best), details=details), exported)
    assert 'encode("One text.", "The other text.")' in card
    assert "somebody" not in card
    assert "mine on test" in card
    assert "`some-model`" in card


# ---- where it may be written ---------------------------------------------------------------------------------------


def test_a_full_folder_is_left_alone(searched: Searched, best: int, copied: Path, tmp_path: Path) -> None:
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


def test_force_takes_nothing_away_that_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(UsageError, match="must not replace"):
        check_target(tmp_path / "a", force=True, needed=[tmp_path / "a" / "b"])
    monkeypatch.chdir(tmp_path / "a" / "b")
    with pytest.raises(UsageError, match="must not replace"):
        check_target(tmp_path / "a", force=True)
    check_target(Path(), force=False)  # the folder one is in, empty


def test_what_has_no_model_cannot_be_exported(
    searched: Searched, view: StudyView, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    stopped = next((row.trial for row in view.rows if row.state == "stopped"), None)
    arguments = ["export", str(folder / "tiny.yaml"), "--to", str(tmp_path / "out"), "--trial"]
    if stopped is not None:
        assert main([*arguments, str(stopped)]) == 2
        assert "has no model: it is stopped" in capsys.readouterr().err
    row = view.front[0]
    artifact = Store(folder / "tiny" / "artifacts").artifact(row.sha256 or "")
    changed = artifact / "model.onnx"
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    assert main([*arguments, str(row.trial)]) == 1
    assert "is not what was measured" in capsys.readouterr().err
    shutil.rmtree(artifact)
    assert main([*arguments, str(row.trial)]) == 1
    assert "is no longer in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_trial_is_measured_on_test_before_it_is_given_away(
    searched: Searched, view: StudyView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    from autocompress.search import final_evaluation

    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    trial = view.front[0].trial
    with sqlite3.connect(folder / "tiny" / "study.db") as database:
        database.execute("DELETE FROM ac_measurements WHERE split = 'test'")
    database.close()
    asked = []
    monkeypatch.setattr(
        final_evaluation, "measure_tests", lambda plan, trials, *, display, offline: asked.append(list(trials))
    )
    arguments = ["export", str(folder / "tiny.yaml"), "--to", str(tmp_path / "out"), "-q", "--trial", str(trial)]
    assert main(arguments) == 1  # it came to nothing: no model is given away unmeasured
    assert asked == [[trial]]
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert main(arguments) == 0
    assert "accuracy on test (80 rows)" in (tmp_path / "out" / "README.md").read_text()
    assert locate(str(folder / "tiny.yaml"), None).view().row(trial).test_quality == view.front[0].test_quality


# ---- verify --------------------------------------------------------------------------------------------------------


def test_an_export_passes(exported: Path) -> None:
    verdict = verify_folder(exported)
    assert verdict.passed
    assert (verdict.same_machine, verdict.inputs, verdict.labels_changed) == (True, 4, 0)
    assert verdict.largest_difference is not None and verdict.largest_difference <= 1e-4
    assert main(["verify", str(exported)]) == 0


def test_one_flipped_byte_anywhere_fails(copied: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sorted(copied.iterdir()):
        content = path.read_bytes()
        for place in {0, len(content) - 1, *map(int, rng.integers(0, len(content), 3))}:
            spoiled = bytearray(content)
            spoiled[place] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(bytes(spoiled))
            assert not verify_folder(copied).passed, f"byte {place} of {path.name}"
        path.write_bytes(content)
    assert verify_folder(copied).passed


def test_a_hash_in_capitals_fails(copied: Path) -> None:
    """The one flipped bit that every tool for hashes would forgive."""
    text = (copied / SUMS).read_text()
    (copied / SUMS).write_text(re.sub("[a-f]", lambda letter: letter[0].upper(), text, count=1))
    assert not verify_folder(copied).passed


def test_missing_and_added_files_fail(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "extra.py").write_text("")
    assert verify_folder(copied).problems == ("extra.py was added",)
    (copied / "extra.py").unlink()
    (copied / "recipe.json").rename(copied / "moved.json")
    assert set(verify_folder(copied).problems) == {"recipe.json is missing", "moved.json was added"}
    assert main(["verify", str(copied), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False
    (copied / SUMS).unlink()
    assert "SHA256SUMS is missing" in verify_folder(copied).problems[0]


def test_hashes_made_anew_do_not_hide_another_model(copied: Path) -> None:
    (copied / "recipe.json").write_text("{}")
    (copied / SUMS).write_text(sums_of(copied))
    assert "are not those that measurement.json is about" in verify_folder(copied).problems[0]


def record(folder: Path, change: Any, cpu: str | None = None) -> None:
    """Change the recorded outputs, and make folder and hashes agree with them, as if they were recorded so."""
    with np.load(folder / "check.npz") as check:
        arrays = dict(check)
    np.savez(folder / "check.npz", **{n: change(a) if n.startswith("logits") else a for n, a in arrays.items()})
    measured = json.loads((folder / "measurement.json").read_text())
    measured["artifact_sha256"] = digest({n: s for n, s in manifest(folder).items() if n not in BESIDE})
    measured["measurement"]["conditions"]["cpu"] = cpu or measured["measurement"]["conditions"]["cpu"]
    (folder / "measurement.json").write_text(json.dumps(measured))
    (folder / SUMS).write_text(sums_of(folder))


@pytest.mark.parametrize(
    ("shift", "cpu", "problem"),
    [
        (5e-5, None, None),
        (1e-3, None, "must be under 0.0001"),
        (1e-3, "another CPU", None),
        (0.0, "another CPU", None),
    ],
)
def test_other_machines_may_round_differently(copied: Path, shift: float, cpu: str | None, problem: str | None) -> None:
    record(copied, lambda logits: logits + np.float32(shift), cpu)
    verdict = verify_folder(copied)
    assert verdict.same_machine is (cpu is None)
    assert verdict.largest_difference == pytest.approx(shift, abs=2e-5)
    if problem is None:
        assert verdict.passed
    else:
        assert problem in verdict.problems[0]


@pytest.mark.parametrize("cpu", [None, "another CPU"])
def test_another_label_fails_everywhere(copied: Path, cpu: str | None) -> None:
    record(copied, lambda logits: -logits, cpu)
    verdict = verify_folder(copied)
    assert verdict.labels_changed == 4
    assert "4 of 4 recorded inputs get another label" in verdict.problems[0]


# ---- measure -------------------------------------------------------------------------------------------------------


def test_measure_an_export_beside_another(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_folder, "EFFORT", measure_folder.measure.QUICK_TIMING)
    alone = measure_folder.measure_folder(exported)
    assert alone.speedup is None
    assert (alone.conditions["tokens"], alone.conditions["threads"]) == (8, 1)  # as it was measured first
    assert alone.size_mb == (exported / "model.onnx").stat().st_size / 1e6
    assert 0 < alone.latency_ms <= alone.latency_p95_ms
    both = measure_folder.measure_folder(exported, exported, tokens=4, batch=2)
    assert both.speedup is not None and both.compression == 1.0
    assert (both.conditions["tokens"], both.conditions["batch"]) == (4, 2)
    assert both.conditions["blocks_alternate_with"] == exported.name
    json.dumps(both.as_json(), allow_nan=False)


def test_measure_needs_no_torch(exported: Path) -> None:
    program = (
        "import sys; from autocompress.interfaces.cli import main; "
        f"main(['measure', {str(exported)!r}]); print(*sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(autocompress.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "latency " in done.stdout
    assert not {"torch", "transformers", "optuna"} & set(done.stdout.split())


# ---- the transformers form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("decisions", RECIPES, ids=["sliced", "local", "linear"])
def test_reloaded_weights_give_the_candidates_logits(family: str, decisions: dict[str, Any], tmp_path: Path) -> None:
    candidate = tiny_candidate(family, **decisions)
    save_candidate(candidate, tiny_tokenizer(family), False, tmp_path)
    loaded = autocompress.load_model(tmp_path)
    batch = tiny_batch(family)
    with torch.no_grad():
        expected, found = candidate.model(**batch).logits, loaded(**batch).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not loaded.training
    assert AutoTokenizer.from_pretrained(tmp_path)("good film").input_ids
    assert "/" not in json.loads((tmp_path / "config.json").read_text()).get("_name_or_path", "")


LOADS_WITHOUT_AUTOCOMPRESS = """
import json, sys
sys.modules["autocompress"] = None  # importing it now fails
import numpy, torch
from transformers import AutoModelForSequenceClassification
worst = {}
for folder in sys.argv[1:]:
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    model.save_pretrained(folder + "/again")
    again = AutoModelForSequenceClassification.from_pretrained(folder + "/again", trust_remote_code=True)
    with numpy.load(folder + "/expected.npz") as kept, torch.no_grad():
        ids, mask = torch.from_numpy(kept["ids"]), torch.from_numpy(kept["mask"])
        found = [one(input_ids=ids, attention_mask=mask).logits.numpy() for one in (model, again)]
        worst[folder] = max(float(numpy.abs(logits - kept["logits"]).max()) for logits in found)
print(json.dumps(worst))
"""


def test_transformers_loads_it_without_autocompress(tmp_path: Path) -> None:
    folders = []
    for family in FAMILIES:
        for number, decisions in enumerate(RECIPES):
            folder = tmp_path / f"{family}{number}"
            folder.mkdir()
            candidate, batch = tiny_candidate(family, **decisions), tiny_batch(family)
            save_candidate(candidate, tiny_tokenizer(family), False, folder)
            with torch.no_grad():
                logits = candidate.model(**batch).logits.numpy()
            ids, mask = (batch[name].numpy() for name in ("input_ids", "attention_mask"))
            np.savez(folder / "expected.npz", ids=ids, mask=mask, logits=logits)
            folders.append(str(folder))
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")}
    program = [sys.executable, "-c", LOADS_WITHOUT_AUTOCOMPRESS, *folders]
    done = subprocess.run(program, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    worst = json.loads(done.stdout)
    assert list(worst) == folders
    assert max(worst.values()) <= 1e-5


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_candidate(tiny_candidate("bert", head_sparsity=0.5), tiny_tokenizer("bert"), False, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if "query.weight" in name)
    save_file({key: value for key, value in weights.items() if key != name}, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=re.escape(name)):
        autocompress.load_model(tmp_path)


def test_other_folders_are_no_model(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder"):
        autocompress.load_model(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="it is the form of a runtime; export again with --form transformers"):
        autocompress.load_model(exported)
    save_candidate(tiny_candidate("bert"), tiny_tokenizer("bert"), False, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for wrong in ([], ["pipeline"], ["CompressedBert"]):
        (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": wrong}))
        with pytest.raises(UsageError, match=r"architectures: .* is no model of transformers"):
            autocompress.load_model(tmp_path)


def test_the_transformers_form_is_what_was_measured(
    searched: Searched,
    view: StudyView,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = next(row for row in view.rows if row.state == "complete" and row.trial and row.recipe.weight_bits == 32)
    to = tmp_path / "torch"
    arguments = [
        "export",
        str(searched.file),
        "--trial",
        str(row.trial),
        "--form",
        "transformers",
        "--to",
        str(to),
        "-q",
    ]
    assert main(arguments) == 0
    assert verify_folder(to).passed
    model = autocompress.load_model(to)
    assert view.artifacts is not None
    with np.load(Store(view.artifacts).artifact(row.sha256 or "") / "check.npz") as check, torch.no_grad():
        for number in range(3):
            logits = model(input_ids=torch.from_numpy(check[f"input_ids_{number}"])).logits
            np.testing.assert_allclose(logits.numpy(), check[f"logits_{number}"], atol=1e-4)
    card = (to / "README.md").read_text()
    assert "autocompress.load_model" in card
    assert "All numbers are of the ONNX form" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(to)
    capsys.readouterr()
    exec(code[1], {})  # in this process: another one would spend seconds on importing torch
    assert capsys.readouterr().out.strip() in {"0", "1"}


# ---- two trials side by side ---------------------------------------------------------------------------------------


def test_two_trials_are_compared_on_the_same_rows(
    searched: Searched, view: StudyView, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = 0, view.front[0].trial
    assert main(["compare", f"{searched.file}:{a}", str(b), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    row = view.row(b)
    assert (found["a"]["trial"], found["b"]["trial"]) == (a, b)
    assert found["quality_b"] == pytest.approx(row.test_quality)
    assert found["drop"] == pytest.approx(row.test_drop)
    assert found["drop_interval"] == pytest.approx(row.test_drop_interval)
    assert found["only_a_right"] - found["only_b_right"] == round(found["drop"] * found["examples"])
    assert found["faster"] == pytest.approx(row.speedup)
    assert found["smaller"] == pytest.approx(row.compression)
    assert main(["compare", f"{searched.file}:{b}", f"{searched.file}:{a}", "--json"]) == 0
    back = json.loads(capsys.readouterr().out)
    assert (back["drop"], back["p_value"]) == (pytest.approx(-found["drop"]), found["p_value"])
    assert back["faster"] == pytest.approx(1 / found["faster"])
    assert main(["compare", f"{searched.file}:{a}", str(b)]) == 0
    told = capsys.readouterr().out
    assert f"B: trial {b}, {row.describe()}" in told and "McNemar" in told


def test_what_is_right_of_each_label_adds_up_to_the_quality(exported: Path, view: StudyView, best: int) -> None:
    told = json.loads((exported / "measurement.json").read_text())
    recall = told["facts"]["recall"]
    own, teachers = np.mean(list(recall.values()), axis=0)  # the rows are half of each label
    assert len(recall) == 2
    assert own == pytest.approx(told["measurement"]["quality"]["quality"])
    assert view.teacher is not None and teachers == pytest.approx(view.teacher.quality)


def test_two_studies_are_compared_by_their_fronts(
    searched: Searched, view: StudyView, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(searched.file), str(searched.file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["coverage_a"] == found["coverage_b"] == 1.0 and found["same_teacher"]
    assert found["hypervolume_a"] == found["hypervolume_b"]
    assert all(one["a"] == one["b"] for one in found["choices"])
    assert main(["compare", str(searched.file), str(searched.file)]) == 0
    told = capsys.readouterr().out
    assert f"A: {view.name}, {len(view.front)} model" in told and "what pick names" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tiny", "1"), "STUDY:TRIAL is needed"),
        (("{file}:9999", "1"), "no trial 9999"),
        (("{file}:0", "x:y"), "STUDY:TRIAL"),
    ],
)
def test_what_cannot_be_compared_is_said(
    searched: Searched, words: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *(word.format(file=searched.file) for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_other_texts_with_the_same_labels_are_other_rows(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    test = folder / "data" / "test.csv"
    head, first, *rest = test.read_text(encoding="utf-8").splitlines()
    test.write_text("\n".join([head, f"other {first}", *rest]) + "\n", encoding="utf-8")
    assert main(["compare", f"{searched.file}:0", f"{folder / 'tiny.yaml'}:0"]) == 2
    assert "(80 rows) are not the same" in capsys.readouterr().err


# ---- doing it again ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trial_done_again_gives_the_same_predictions(searched: Searched, capsys: pytest.CaptureFixture[str]) -> None:
    view = locate(str(searched.file), None).view()
    trial = view.front[-1].trial
    answer = main(["reproduce", str(searched.file), "--trial", str(trial), "--offline", "--json"])
    told = json.loads(capsys.readouterr().out)
    checks = {check["what"]: check for check in told["checks"]}
    for what in ("the teacher's model", "the model", "predictions on validation", "predictions on test", "size, MB"):
        assert checks[what]["before"] == checks[what]["now"], told
    assert told["changed"] == []
    assert answer == (0 if told["reproduced"] else 1)  # the speed-up may be another: tests run beside this one
    assert locate(str(searched.file), None).view() == view  # the study is as it was


@pytest.mark.slow
def test_other_data_are_no_reproduction(searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    (folder / "data" / "test.csv").write_text("text,label\none,0\nother,1\n")
    assert main(["reproduce", str(folder / "tiny.yaml"), "--trial", "0", "--offline"]) in (1, 2)
    assert "reproduced" not in capsys.readouterr().out
