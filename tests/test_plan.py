"""Reading a study file: defaults, the message for each mistake, spaces, and resuming a study."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from autocompress.config import (
    HubData,
    StudyPlan,
    read_as_begun,
    read_plan,
)
from autocompress.config.yaml_documents import parse
from autocompress.core.errors import UsageError

STUDY = """
teacher: {model: ./teacher}
task:
  data: {train: "${DATA}/train.csv"}
  columns: {text: sentence}
space: {depth: [1, all]}
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid study file in a folder with its teacher; the data is elsewhere, under ${DATA}."""
    (tmp_path / "studies" / "teacher").mkdir(parents=True)
    (tmp_path / "studies" / "teacher" / "config.json").write_text("{}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("sentence,label\nfine,1\n")
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "studies" / "sst2.yaml"
    file.write_text(STUDY)
    return file


def test_defaults_and_absolute_paths(study: Path) -> None:
    plan = read_plan(study)
    folder = study.parent
    assert plan.study == "sst2"
    assert plan.storage == f"sqlite:///{folder}/sst2/study.db"
    assert plan.artifacts.path == folder / "sst2" / "artifacts"
    assert plan.teacher.model == str(folder / "teacher")
    assert plan.task.data.train == os.environ["DATA"] + "/train.csv"
    assert plan.space == {"depth": [1, "all"]}
    assert plan.place("task.data.train") == "sst2.yaml: task.data.train"


def test_read_plan_reads_every_section(study: Path) -> None:
    study.write_text(
        """
study: sst2_cpu
teacher: {model: ./teacher, fine_tune: {epochs: 3, learning_rate: 5e-5}}
task:
  kind: text-classification
  data:
    train: ${DATA}/train.csv
    test: {path: glue, config: sst2, revision: null, split: test}
    where: {source: rotten_tomatoes, year: 1999}
    max_train_rows: 8000
  columns: {text: sentence, text_pair: null, label: label}
  metric: accuracy
  max_tokens: 128
device: {runtime: onnxruntime, threads: 1, batch: 1, tokens: data}
space: encoder
objectives: [quality, latency_ms, size_mb]
constraints: {max_drop: 0.02, max_latency_ms: 10, max_size_mb: 50}
budget: {trials: 40, time: 30m}
storage: sqlite:///sst2_cpu/study.db
artifacts: {path: sst2_cpu/artifacts, max_gb: 10}
seed: 0
recovery:
"""
    )
    plan = read_plan(study)
    assert plan.budget.time == 1800
    assert plan.teacher.fine_tune is not None
    assert plan.teacher.fine_tune.learning_rate == 5e-5
    assert isinstance(plan.task.data.test, HubData)
    assert plan.task.data.test.path == "glue"
    assert plan.task.data.where == {"source": "rotten_tomatoes", "year": 1999}
    assert plan.storage == f"sqlite:///{study.parent}/sst2_cpu/study.db"
    assert plan.space["depth"] == {"low": 1, "high": "all"}
    assert plan.recovery.epochs == 6  # an empty section is its default


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # keys
        (
            "task.columns.txt=a",
            "--set task.columns.txt: unknown key; did you mean 'text'? (available: label, text, text",
        ),
        ("teachr={}", "unknown key; did you mean 'teacher'? (available: artifacts, budget"),
        ("task.data.test={path: glue, split: test, conf: a}", "unknown key; did you mean 'config'?"),
        ("task.data.test={path: glue}", "task.data.test.split: missing; add"),
        ("teacher=null", "--set teacher: missing; add `teacher: {model: "),
        ("task={columns: {}}", "--set task.data: missing; add `data: {train: FILE}`"),
        # types and ranges
        ("device.threads=many", "device.threads: a whole number is needed, but got 'many'"),
        ("device.threads=0", "`threads >= 1` must hold, but got 0"),
        ("device.threads=true", "device.threads: this key takes no true or false, but got true"),
        ("device.tokens=1", "device.tokens: a whole number of at least 2 is needed, or data, but got 1"),
        ("device.tokens=date", "or data, but got 'date'"),
        ("task.max_tokens=2", "`max_tokens >= 4` must hold"),
        ("task.data=train.csv", "task.data: a mapping (`key: value` lines) is needed, but got 'train.csv'"),
        ("task.columns.label=no", "task.columns.label: this key takes no true or false, but got false"),
        ("task.columns.label=sentence", "task.columns: each key must name a different column"),
        ("task.columns.text=3", "text is needed (put quotes around a number), but got 3"),
        ("task.data.where={source: [a]}", "column source must equal one text, number or true/false, but got ['a']"),
        ("objectives=[quality, speed]", "objectives.1: unknown value 'speed'; available: 'quality', 'latency_ms'"),
        ("objectives=[quality, quality]", "each objective may be named only once"),
        ("objectives=[]", "objectives: at least one entry is needed"),
        ("constraints.max_drop=-1", "`max_drop >= 0` must hold, but got -1"),
        ("constraints.max_size_mb=.inf", "a finite number is needed"),
        ("budget.time=30 minutes", "a time like 90s, 30m or 2h is needed, but got '30 minutes'"),
        ("budget.trials=0", "`trials >= 1` must hold"),
        ("study=a/b", "study: a name of letters, digits"),
        ("seed=-1", "`seed >= 0` must hold"),
        # names
        (
            "task.kind=text-clasification",
            "unknown task 'text-clasification'; did you mean 'text-classification'? (available: ",
        ),
        ("device.runtime=onnx", "unknown runtime 'onnx'"),
        ("task.metric=acuracy", "unknown metric 'acuracy'; did you mean 'accuracy'? (available: accuracy, entity_f1"),
        ("task.metric=glue", "needs --trust-remote-code"),
        ("task.metric=./mine.py", "task.metric: no metric at "),
        ("space=encodr", "--set space: unknown space 'encodr'; did you mean 'encoder'? (available: bits, encoder"),
        ("space=./mine.yaml", "mine.yaml: no such search space"),
        ("space={dept: 3}", "unknown decision 'dept'; did you mean 'depth'? (available: "),
        ("space.dept=3", "--set space.dept: unknown decision 'dept'"),
        ("space=[1]", "the name of a space or a mapping of decisions is needed, but got [1]"),
        # paths
        ("teacher.model=./teachr", "teachr; in "),
        ("teacher.model=./sst2.yaml", "is a file; a folder with config.json, weights and tokenizer is needed"),
        ("teacher.model=a/b/c", "teacher.model: there is no folder"),
        ("teacher.model=..", "is no transformers model: it has no config.json"),
        ("teacher.model=${NOWHERE_SET}/x", "${NOWHERE_SET} is not set; set it (export NOWHERE_SET=…)"),
        ("teacher.model=package:no_such_thing/model", "no installed package has the import name no_such_thing"),
        ("teacher.model=package:yaml/model", "there is no folder"),
        ("task.data.train=train.parquet", "train.parquet; in "),
        ("task.data.train=imdb", "(for a data set of the hub write {path: imdb, split: …})"),
        ("task.data.train='*.parquet'", "no file matches"),
        ("task.data.train=*.parquet", "put quotes around a text that begins with * or &"),
        ("task.data.train=sst2.yaml", "has no known suffix; available: .parquet, .csv, .json, .jsonl"),
        ("task.data.test={path: ./folder, split: test}", "task.data.test.path: there is no folder"),
        # storage
        ("storage=study.db", "an SQLAlchemy URL is needed; for a file write sqlite:///study.db"),
        ("storage=sqlite://study.db", "three slashes"),
        ("storage=sqlite://", "a database in memory would be lost"),
        # the option itself
        ("device.threads", "the form is KEY.PATH=VALUE"),
        ("=3", "the form is KEY.PATH=VALUE"),
        ("seed.x=3", "--set seed: a whole number is needed, but got {'x': 3}"),
        ("study.x=3", "--set study: text is needed"),
        ("task.kind.x=3", "--set task.kind: text is needed"),
        ("teacher.model.x=3", "--set teacher.model.x: model is './teacher', which has no keys; set model itself"),
        ("seed={", "--set seed: line 1"),
    ],
)
def test_each_mistake_is_one_sentence_with_its_place(study: Path, change: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_plan(study, [change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    key = change.partition("=")[0]
    assert key.split(".")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sst2.yaml: a study file is a mapping (`key: value` lines), but this is empty"),
        ("- a", "but this is a list"),
        ("hello", "but this is a single value"),
        ("teacher: [", "sst2.yaml: line 1, column 11: "),
        ("data: {train: ${DATA}/a.csv}", "put quotes around a text with ${…} inside {…}"),
        ("a: b: c", "mapping values are not allowed here"),
        ("a: 2024-13-45", "not valid YAML: month must be in"),
        ("\x00", "sst2.yaml: not valid YAML"),
        (STUDY + "seed: 1\nseed: 2\n", "line 8, column 1: the key 'seed' is repeated in one mapping"),
        ("task: {data: {train: a, train: b}}", "the key 'train' is repeated"),
        ("task: {data: {train: x.csv}}", "sst2.yaml: teacher: missing; add"),
        ("teacher: {model: bert-base-uncased}", "sst2.yaml: task: missing; add"),
        (STUDY.replace("text:", "txt:"), "sst2.yaml: task.columns.txt: unknown key"),
        (STUDY.replace("text:", "3:"), "sst2.yaml: task.columns.3: "),
    ],
)
def test_a_broken_file_is_one_sentence(study: Path, text: str, message: str) -> None:
    study.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_plan(study)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_lists_available_files(study: Path) -> None:
    with pytest.raises(UsageError, match=r"ss2.yaml: no such study file; available: sst2.yaml"):
        read_plan(study.with_name("ss2.yaml"))
    with pytest.raises(UsageError, match=r"this is a folder; available: sst2.yaml"):
        read_plan(study.parent)
    study.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_plan(study)


def test_existing_folder_takes_precedence_over_a_hub_name(study: Path) -> None:
    assert read_plan(study, ["teacher.model=org/name"]).teacher.model == "org/name"
    folder = study.parent / "org" / "name"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert read_plan(study, ["teacher.model=org/name"]).teacher.model == str(folder)


def test_a_package_is_found_without_importing_it(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "explosive_package"
    (package / "model").mkdir(parents=True)
    (package / "model" / "config.json").write_text("{}")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    plan = read_plan(study, ["teacher.model=package:explosive_package/model"])
    assert plan.teacher.model == str(package / "model")
    assert plan.identity()["teacher"]["model"] == "package:explosive_package/model"


def test_packaged_spaces_are_found_in_an_installed_package(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    shutil.copytree(root / "autocompress", tmp_path / "autocompress", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "search_spaces", tmp_path / "autocompress" / "search_spaces")
    code = "from autocompress.config.space_files import spaces; print(*spaces().values())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    names = ("bits", "encoder", "long_text", "quickstart")
    assert done.stdout.split() == [f"{tmp_path}/autocompress/search_spaces/{name}.yaml" for name in names]


def test_read_space_searches_study_folder_then_search_spaces_then_package(study: Path, tmp_path: Path) -> None:
    study.write_text(STUDY.replace("space: {depth: [1, all]}", "space: sst2"))
    with pytest.raises(UsageError, match="unknown space 'sst2'"):  # the study itself is no space
        read_plan(study)
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "sst2.yaml").write_text("depth: 2")
    assert read_plan(study).space == {"depth": 2}
    (tmp_path / "search_spaces" / "encoder.yaml").write_text("depth: 3")
    assert read_plan(study, ["space=encoder"]).space == {"depth": 3}  # before the packaged one
    study.with_name("encoder.yaml").write_text("depth: 4")
    assert read_plan(study, ["space=encoder"]).space == {"depth": 4}
    study.with_name("encoder.yaml").write_text("teacher: ${NOT_SET}")  # another study of that name
    assert read_plan(study, ["space=encoder"]).space == {"depth": 3}
    study.with_name("mine.yaml").write_text("dept: 4")
    study.write_text(STUDY.replace("{depth: [1, all]}", "./mine.yaml"))
    with pytest.raises(
        UsageError, match=r"sst2.yaml: space \(./mine.yaml\): unknown decision 'dept'; did you mean 'depth'"
    ):
        read_plan(study)


def test_one_decision_of_a_named_space_can_be_changed(study: Path) -> None:
    plan = read_plan(study, ["space=bits", "space.weight_bits=8"])
    assert plan.space == {"weight_bits": 8, "embedding_bits": [32, 8, 4]}


def test_metric_may_be_a_file_or_trusted_remote_code(study: Path) -> None:
    study.with_name("mine.py").write_text("")
    assert read_plan(study, ["task.metric=mine.py"]).task.metric == str(study.with_name("mine.py"))
    assert read_plan(study, ["task.metric=glue"], trust_remote_code=True).task.metric == "glue"


def test_a_study_resumes_after_it_moved(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = json.loads(json.dumps(read_plan(study).identity()))
    (tmp_path / "studies").rename(tmp_path / "moved")
    (tmp_path / "data").rename(tmp_path / "moved_data")
    monkeypatch.setenv("DATA", str(tmp_path / "moved_data"))
    plan = read_plan(tmp_path / "moved" / "sst2.yaml")
    assert plan.difference(stored) == []


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ("seed=1", ["seed"]),
        ("task.columns.label=other", ["task.columns.label"]),
        ("task.data.where={a: 1}", ["task.data.where.a"]),
        ("task.data.train=${DATA}/*.csv", ["task.data.train"]),
        ("teacher.fine_tune={epochs: 1}", ["teacher.fine_tune"]),
        ("device.tokens=data", ["device.tokens"]),
        ("objectives=[quality, size_mb]", ["objectives"]),
        ("space.depth=1", ["space.depth"]),
        ("space={weight_bits: 8}", ["space.weight_bits", "space.depth"]),
        ("budget.trials=9", []),
        ("constraints.max_drop=0.1", []),
        ("workers=2", []),
        ("recovery.epochs=1", []),
        ("storage=sqlite:///x.db", []),
    ],
)
def test_difference_lists_keys_that_must_not_change(study: Path, change: str, keys: list[str]) -> None:
    plan, other = read_plan(study), read_plan(study, [change])
    assert other.difference(plan.identity()) == keys
    for begun, file in ((other, STUDY), (plan, _edited(change))):  # by an option then; by an edit since
        study.write_text(file)
        again = read_as_begun(study, {**begun.identity(), "recovery": begun.recovery.model_dump(mode="json")})
        assert again.identity() == begun.identity()
        assert again.recovery == begun.recovery


def _edited(change: str) -> str:
    """The study file with a key changed."""
    key_path, _, value = change.partition("=")
    values = parse(STUDY, "a study")
    *parents, last = key_path.split(".")
    part = values
    for key in parents:
        part = part.setdefault(key, {})
    part[last] = parse(value, "a value")
    return yaml.safe_dump(values)


def test_read_as_begun_reports_a_missing_stored_path(study: Path, tmp_path: Path) -> None:
    stored = read_plan(study).identity()
    (tmp_path / "data" / "train.csv").rename(tmp_path / "data" / "other.csv")
    study.write_text(STUDY.replace("train.csv", "other.csv"))
    with pytest.raises(
        UsageError, match=r"^the study was begun with task\.data\.train: there is no file .*/train\.csv"
    ):
        read_as_begun(study, stored)


def test_difference_ignores_unset_keys_of_later_versions(study: Path) -> None:
    plan = read_plan(study)
    stored = plan.identity()
    del stored["task"]["columns"]["text_pair"], stored["task"]["data"]["where"]
    assert plan.difference(stored) == []
    del stored["task"]["columns"]["label"]
    assert plan.difference(stored) == ["task.columns.label"]


def test_plan_survives_pickling(study: Path) -> None:
    plan = read_plan(study)
    copy: StudyPlan = pickle.loads(pickle.dumps(plan))
    assert copy == plan
    assert copy.identity() == plan.identity()
    assert copy.place("seed") == "sst2.yaml: seed"


def test_reading_a_plan_imports_nothing_heavy(study: Path) -> None:
    code = (
        "import sys; from autocompress.config import read_plan; from autocompress.space.parsing import resolve_space; "
        f"read_plan({str(study)!r}); "
        "heavy = ('torch', 'numpy', 'optuna', 'datasets', 'pandas', 'sqlalchemy', 'pyarrow'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def test_as_stored_keeps_the_stored_values_of_a_packaged_space(study: Path) -> None:
    then = {"space": {"depth": [1, 2]}}
    study.write_text(STUDY.replace("{depth: [1, all]}", "encoder"))
    named = read_plan(study)
    assert named.as_stored(then).space == {**then["space"], "initial": named.space["initial"]}
    assert named.as_stored(then).identity()["space"] == then["space"]
    assert named.as_stored(None).space == named.space
    study.write_text(STUDY)
    assert read_plan(study).as_stored(then).space == {
        "depth": [1, "all"]
    }  # an edit is refused when the study is opened
    (study.parent / "encoder.yaml").write_text("depth: [2]\n")
    study.write_text(STUDY.replace("{depth: [1, all]}", "encoder"))
    assert read_plan(study).as_stored(then).space == {"depth": [2]}
