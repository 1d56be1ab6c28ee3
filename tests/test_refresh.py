"""Refreshing a model: what goes on, what is compared, what is refused before any work, and that a kill loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocompress.actions.locate import locate
from autocompress.actions.refresh import RefreshRequest, begin_refresh
from autocompress.config import Engine, Recovery, read_plan
from autocompress.core.errors import UsageError
from autocompress.core.recipe import Recipe
from autocompress.core.stage import Stage
from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.search.earlier_candidate import read_earlier_candidate, read_teacher_form
from autocompress.search.plan_check import prepare
from autocompress.search.stage_keys import TrainedStages
from autocompress.storage.artifact_store import Store
from autocompress.storage.checksums import manifest
from autocompress.training.time_fitting import FURTHER_SHARE, TrainingRates, fit_further_training
from tests.conftest import ROOT, Searched, run_cli
from tests.tiny import tiny_rows, tiny_study, tiny_teacher, write_rows


@pytest.fixture
def study(searched: Searched, tmp_path: Path) -> Path:
    """A copy of the searched study; its file."""
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    return folder / searched.file.name


def trained_trial(file: Path) -> int:
    """Return a trial whose model was trained."""
    rows = locate(str(file), None).view().rows
    return max(row.trial for row in rows if row.state == "complete" and row.recipe["depth"] == 2)


def network_of(file: Path, trial: int) -> dict[str, str]:
    """Return the hashes of the files of a trial's network; config and tokenizer are written by its teacher."""
    located = locate(str(file), None)
    view = located.view()
    files = manifest(located.store(view).artifact(str(view.row(trial).sha256)))
    return {name: sha256 for name, sha256 in files.items() if name.startswith("model.onnx")}


def request(file: Path, **changes: Any) -> RefreshRequest:
    teacher = tiny_teacher(file.parent / "newer", seed=5)
    return replace(
        RefreshRequest(study=locate(str(file), None), trial=trained_trial(file), teacher=str(teacher)), **changes
    )


def begin(asked: RefreshRequest) -> Path:
    return begin_refresh(asked, SilentDisplay(), offline=True)


def test_it_begins_with_the_model_as_it_was_measured(study: Path) -> None:
    asked = request(study)
    file, row = begin(asked), asked.study.view().row(asked.trial)
    plan = read_plan(file)
    assert plan.start is not None
    earlier = read_earlier_candidate(plan.start, "start")
    assert (earlier.recipe, earlier.study, earlier.trial, earlier.sha256) == (row.recipe, "tiny", row.trial, row.sha256)
    checked = prepare(plan, offline=True)
    assert checked.space.contains(row.recipe) and checked.space.size() == 1
    old = read_plan(study)
    assert (plan.study, plan.storage, plan.seed) == ("tiny-refreshed", old.storage, old.seed)
    assert plan.task.data.train == old.task.data.train and plan.artifacts.path != old.artifacts.path
    assert plan.teacher.model.endswith("newer") and plan.teacher.fine_tune is None
    assert plan.budget.time == max(60.0, round(0.1 * asked.study.view().seconds)) and plan.budget.trials is None
    written = file.stat().st_mtime_ns
    assert begin(asked) == file and file.stat().st_mtime_ns == written  # the same again changes nothing


def test_new_data_replace_those_of_the_same_split_and_the_teacher_is_fine_tuned_again(study: Path) -> None:
    new = study.parent / "new"
    write_rows(new / "train.csv", tiny_rows(300, 9))
    plan = read_plan(begin(request(study, teacher=None, data=new, seconds=90.0)))
    assert plan.task.data.train == str(new / "train.csv")
    assert plan.task.data.test == read_plan(study).task.data.test
    assert plan.teacher == read_plan(study).teacher
    record = locate(str(study), None).view().fine_tuning
    assert record is not None and plan.budget.time == pytest.approx(90 + record.seconds, abs=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": None}, "what is new"),
        ({"trial": 0}, "that is the teacher itself"),
        ({"trial": 99}, "99"),
        ({"teacher": "./nowhere"}, "--teacher"),
    ],
)
def test_what_cannot_be_refreshed_is_refused_before_any_work(
    study: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        begin(request(study, **changes))
    assert not list(study.parent.glob("tiny-refreshed*"))


def test_a_model_whose_teacher_is_gone_is_not_made_from_another_one(study: Path) -> None:
    asked = request(study)
    tiny_teacher(study.parent / "teacher", seed=9)
    with pytest.raises(
        UsageError, match=r"teacher.model changed since .* \(model.safetensors\), so the model cannot be made"
    ):
        begin(asked)


def test_a_name_refreshes_one_thing(study: Path) -> None:
    asked = request(study)
    begin(asked)
    other = tiny_teacher(study.parent / "other", seed=6)
    with pytest.raises(UsageError, match="says something else; give this refresh another name with --name"):
        begin(replace(asked, teacher=str(other)))
    assert begin(replace(asked, teacher=str(other), name="again")).name == "again.yaml"


@pytest.mark.parametrize(
    ("kind", "sizes", "message"),
    [
        ("bert", {"hidden": 48}, "this one has hidden_size 48, and not 32"),
        ("bert", {"layers": 2}, "this one has num_hidden_layers 2, and not 3"),
        ("bert", {"layers": 1}, "this one has num_hidden_layers 1, and not 3"),  # too few for the recipe
        ("electra", {}, "this one is of the family 'electra', and not 'bert'"),
    ],
)
def test_a_teacher_of_another_kind_is_one_sentence(study: Path, kind: str, sizes: dict[str, int], message: str) -> None:
    teacher = tiny_teacher(study.parent / "other", kind, **sizes)
    with pytest.raises(UsageError, match=message):
        prepare(read_plan(begin(request(study, teacher=str(teacher)))), offline=True)


def test_another_vocabulary_or_other_labels_are_told(tmp_path: Path) -> None:
    folder = tiny_teacher(tmp_path / "teacher")
    form = read_teacher_form(str(folder), ("bad", "good"), offline=True)
    assert form.describe_difference(form) is None
    assert (
        form.describe_difference(replace(form, labels=("good", "bad")))
        == "predicts the labels bad, good, and not good, bad"
    )
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    words = vocabulary["model"]["vocab"]
    first, second = [word for word in words if word.isalpha()][:2]
    words[first], words[second] = words[second], words[first]
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    swapped = read_teacher_form(str(folder), ("bad", "good"), offline=True)
    assert swapped.describe_difference(form) == "has another vocabulary"


def test_a_study_cannot_start_from_a_candidate_and_a_super_net(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    with pytest.raises(
        UsageError, match=r"start: the candidate has weights of its own; write engine: \{supernet: false"
    ):
        read_plan(tiny_study(tmp_path, start="./start"))
    off = {"supernet": False, "refit": False}
    with pytest.raises(UsageError, match="holds no candidate; name a folder that `autocompress refresh` wrote"):
        prepare(read_plan(tiny_study(tmp_path, start="./start", engine=off)), offline=True)


def test_weights_depend_on_the_candidate_that_they_start_from() -> None:
    recipe = Recipe(depth=2)
    first, second, none = (
        TrainedStages("teacher", Recovery(), Engine(supernet=False, refit=False), 0, {}, start)
        for start in (Stage("start", 1, {"files": {"a": "1"}}), Stage("start", 1, {"files": {"a": "2"}}), None)
    )
    for rung in range(3):
        assert len({stages.weights(recipe, rung).key for stages in (first, second, none)}) == 3
    assert first.targets.key == none.targets.key


@pytest.mark.parametrize("seconds", [5.0, 100.0, 3000.0])
def test_its_training_fits_the_time(seconds: float) -> None:
    rates = TrainingRates(label=0.01, supernet_step=0.0, step=0.1, rows=4000, further=500)
    recovery = Recovery()
    fitted = fit_further_training(recovery, (), seconds, rates)
    steps = fitted.epochs * rates.rows / recovery.batch
    assert fitted.short_epochs == 0
    assert steps == pytest.approx(max(150, min(6000, FURTHER_SHARE * seconds / rates.step)))
    rows = rates.count_rows(fitted.copies) if fitted.distilled_rows is None else fitted.distilled_rows
    assert rows >= min(rates.rows * fitted.epochs, rates.count_rows(fitted.copies)) - 1
    assert fit_further_training(recovery, ("epochs", "copies"), seconds, rates).epochs == recovery.epochs


@pytest.fixture(scope="module")
def reversed_teacher(together: Store) -> Path:
    """A teacher that learned the opposite labels, and rows with them: `teacher` and `data` in one folder."""
    return together.stage(Stage("reversed_teacher", 1), _reverse_labels)


def _reverse_labels(folder: Path) -> None:
    file = tiny_study(folder / "study", budget={"trials": 1})
    for seed, (split, count) in enumerate({"train": 240, "validation": 80, "test": 80}.items()):
        rows = [{**row, "label": 1 - row["label"]} for row in tiny_rows(count, seed)]
        for target in (folder / "data", folder / "study" / "data"):
            write_rows(target / f"{split}.csv", rows)
    run_cli("search", file.name, cwd=file.parent)
    run_cli("export", file.name, "--trial", 0, "--form", "transformers", "--to", "../teacher", cwd=file.parent)


@pytest.mark.slow
def test_it_learns_from_the_new_teacher_and_a_kill_loses_nothing(study: Path, reversed_teacher: Path) -> None:
    trial, teacher, data = trained_trial(study), reversed_teacher / "teacher", reversed_teacher / "data"
    before = locate(str(study), None).view()
    arguments = ["refresh", study.name, "--trial", trial, "--teacher", teacher, "--data", data, "--offline", "--json"]
    command = [sys.executable, "-m", "autocompress", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=study.parent, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as lines:
        assert any(line.startswith("trial 1 complete") for line in lines)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = run_cli(*arguments, cwd=study.parent)
    document = json.loads(done.stdout)
    old, new = document["old"], document["new"]
    assert "trial 1 complete" not in done.stderr  # it was measured before the kill
    assert network_of(study, trial) == network_of(
        study.with_name("tiny-refreshed.yaml"), old["trial"]
    )  # the very model
    assert document["of"] == {"study": "tiny", "trial": trial} and document["verdict"] == "new"
    assert new["test_quality"] > old["test_quality"] + 0.4
    assert document["comparison"]["drop_interval"][1] < 0
    view = locate(str(study.with_name("tiny-refreshed.yaml")), None).view()
    assert sum(row.state == "complete" for row in view.rows) == 3  # the teacher, the model as it was, the refreshed one
    assert locate(str(study), None).view() == before
    again = run_cli(*arguments[:-1], cwd=study.parent)  # nothing is left to do
    assert "verdict: the refreshed model is better; take it" in again.stdout
    assert "untrained" not in again.stdout


@pytest.mark.slow
def test_a_model_with_the_weights_of_its_teacher_gets_those_of_the_new_one(study: Path, reversed_teacher: Path) -> None:
    values = yaml.safe_load(study.read_text(encoding="utf-8"))
    file = study.with_name("bits.yaml")
    file.write_text(yaml.safe_dump({**values, "space": {"weight_bits": 8}, "budget": {"trials": 1}}), encoding="utf-8")
    run_cli("search", file.name, cwd=file.parent)
    arguments = ["--teacher", reversed_teacher / "teacher", "--data", reversed_teacher / "data", "--json"]
    document = json.loads(run_cli("refresh", file.name, "--trial", 1, *arguments, cwd=file.parent).stdout)
    assert document["old"]["test_quality"] < 0.2 and document["new"]["test_quality"] > 0.8
    assert document["new"]["test_drop"] == pytest.approx(0, abs=0.05)
