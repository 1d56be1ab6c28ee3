"""An added task, family, block, attention, runtime and metric, one file each, work in one study from `init` to export."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.extended_package import ROOT, ExtendedPackage, extend_package, nomic_model, tiny_label_sets
from tests.tiny import tiny_study, write_rows

ADDED = {
    "tasks": "multi-label-classification",
    "metrics": "balanced_accuracy",
    "families": "nomic_bert",
    "blocks": "gated_post_norm",
    "attentions": "efficient",
    "runtimes": "onnxruntime_quiet",
}
SHORT = {  # keys of the study file that are replaced, so that a search takes seconds
    "teacher": {"model": "./nomic", "fine_tune": {"epochs": 15, "learning_rate": 5e-3, "batch": 16}},
    "device": {"runtime": "onnxruntime_quiet", "tokens": 8},
    "space": {
        "depth": [1, 2],
        "attention": "efficient",
        "head_sparsity": 0.5,
        "ffn_sparsity": [0, 0.5],
        "weight_bits": 32,
    },
    "recovery": {"epochs": 2, "supernet_epochs": 1, "learning_rate": 2e-3, "batch": 16, "copies": 2},
    "engine": {"rungs": False},
    "budget": {"trials": 2},
    "workers": 1,
}


@pytest.fixture(scope="session")
def extended(tmp_path_factory: pytest.TempPathFactory) -> ExtendedPackage:
    """A copy of the package with an entry of every kind."""
    return extend_package(tmp_path_factory.mktemp("extended-studies"))


# ---- lists and pages -----------------------------------------------------------------------------------------------


def test_an_added_entry_of_every_kind_is_listed(extended: ExtendedPackage) -> None:
    program = """
import json, sys
from autocompress.actions.inventory import list_entries
from autocompress.core import registry
kinds = [kind for kind in registry.KINDS if kind not in ("techniques", "attentions")]  # these two probe all runtimes
listed = {kind: {entry.name: entry.as_json() for entry in list_entries(kind)} for kind in kinds}
print(json.dumps([listed, registry.names("attentions"), "torch" in sys.modules]))
"""
    listed, attentions, loads_torch = json.loads(extended.python(program))
    assert not loads_torch and ADDED["attentions"] in attentions
    for kind, entries in listed.items():
        assert entries[ADDED[kind]]["summary"] and entries[ADDED[kind]]["available"], kind
    assert listed["runtimes"]["onnxruntime_quiet"]["here"] == listed["runtimes"]["onnxruntime"]["here"]


@pytest.mark.slow
def test_list_names_added_runtimes_and_what_they_support(extended: ExtendedPackage) -> None:
    listed = {kind: {entry["name"]: entry for entry in entries} for kind, entries in extended.json("list").items()}
    assert set(listed) == {*ADDED, "techniques", "spaces"}
    assert all(name in listed[kind] for kind, name in ADDED.items())
    assert "onnxruntime_quiet" in listed["attentions"]["efficient"]["here"]
    assert "onnxruntime_quiet" in listed["techniques"]["weight_bits"]["here"]


def test_the_reference_has_a_line_for_an_added_entry_of_every_kind(extended: ExtendedPackage) -> None:
    program = (
        f"import json, sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import reference; "
        "print(json.dumps(reference.build_pages()))"
    )
    page = json.loads(extended.python(program))["reference/entries.md"]
    for name in ADDED.values():
        assert re.search(rf"^\| `{name}` \|.* \S", page, re.MULTILINE), name
    assert (
        "| `multi-label-classification` | `text`, `text_pair` (optional), `label` | `micro_f1` | label sets |" in page
    )
    assert "| `nomic_bert` | `nomic_bert` | `gated_post_norm` |" in page
    assert "| `efficient` | no | relative position bias |" in page
    assert "| `onnxruntime_quiet` | onnxruntime | ONNX graphs |" in page


def test_doctor_names_an_added_runtime(extended: ExtendedPackage) -> None:
    findings = {finding["what"]: finding["found"] for finding in extended.json("doctor")["findings"]}
    assert "onnxruntime_quiet" in findings["runtimes"]


def test_the_page_on_runtimes_shows_the_runtime_that_is_tested_here() -> None:
    page = (ROOT / "docs/pages/how-to/add-a-runtime.md").read_text(encoding="utf-8")
    title, text = re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', page, re.DOTALL | re.MULTILINE)[0]
    assert text == (ROOT / "tests/extension" / Path(title).relative_to("autocompress")).read_text(encoding="utf-8")


# ---- a study -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def searched(extended: ExtendedPackage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a study that `init` wrote for a model and data, and that was searched."""
    folder = tmp_path_factory.mktemp("topics")
    nomic_model(folder / "nomic")
    for seed, (split, count) in enumerate({"train": 240, "validation": 80, "test": 80}.items()):
        write_rows(folder / "data" / f"{split}.parquet", tiny_label_sets(count, seed))
    extended.run("init", "nomic", "data", "--to", "topics.yaml", "--offline", cwd=folder)
    text = (folder / "topics.yaml").read_text(encoding="utf-8")
    (folder / "written.txt").write_text(text, encoding="utf-8")
    (folder / "topics.yaml").write_text(yaml.safe_dump({**yaml.safe_load(text), **SHORT}), encoding="utf-8")
    extended.run("search", "topics.yaml", "--offline", cwd=folder)
    return folder / "topics.yaml"


@pytest.mark.slow
def test_init_writes_the_study_of_the_added_task(searched: Path) -> None:
    text = (searched.parent / "written.txt").read_text(encoding="utf-8")
    assert "  kind: multi-label-classification\n" in text
    assert "  columns: {text: text, text_pair: null, label: labels}\n" in text
    assert "  metric: micro_f1\n" in text
    assert "has no classifier yet" in text and "space: encoder " in text  # the family has a file


@pytest.mark.slow
def test_the_search_uses_the_added_entries(extended: ExtendedPackage, searched: Path) -> None:
    rows = extended.json("trials", searched.name, cwd=searched.parent)["trials"]
    teacher, *others = rows
    assert teacher["quality"] > 0.8 and teacher["recipe"]["attention"] == "full"
    assert len(others) >= 2
    assert all(row["state"] == "complete" and row["recipe"]["attention"] == "efficient" for row in others)
    assert all(row["quality"] > 0.3 and row["test_quality"] is not None for row in others if row["on_front"])
    front = extended.json("front", searched.name, cwd=searched.parent)
    assert {row["trial"] for row in front["trials"]} <= {row["trial"] for row in rows}
    connection = sqlite3.connect(searched.parent / "topics" / "study.db")
    seen = connection.execute("SELECT attention, quality FROM results WHERE trial > 0").fetchall()
    connection.close()
    assert {attention for attention, _ in seen} == {"efficient"} and all(quality is not None for _, quality in seen)


@pytest.mark.slow
def test_the_report_shows_the_tables_of_the_added_task(
    extended: ExtendedPackage, searched: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    extended.run("report", searched.name, "--trial", 1, "--to", page, cwd=searched.parent)
    text = page.read_text(encoding="utf-8")
    for shown in ("Results by label, on test", "praise", "Right: yes or no.", "efficient attention", "micro_f1"):
        assert shown in text, shown


@pytest.mark.slow
def test_an_export_runs_by_itself_in_the_added_runtime(
    extended: ExtendedPackage, searched: Path, tmp_path: Path
) -> None:
    to = tmp_path / "exported"
    extended.run("export", searched.name, "--trial", 1, "--to", to, cwd=searched.parent)
    recipe = json.loads((to / "recipe.json").read_text(encoding="utf-8"))
    assert (recipe["task"], recipe["runtime"]) == ("multi-label-classification", "onnxruntime_quiet")
    measurement = json.loads((to / "measurement.json").read_text(encoding="utf-8"))["measurement"]
    assert measurement["conditions"]["runtime"] == "onnxruntime_quiet"
    assert extended.json("verify", to)["passed"]
    card = (to / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code and "allow_spinning" in code[1] and "| attention | efficient |" in card
    text = code[1].replace("A text with several topics.", "the film is good superb witty")
    done = subprocess.run([sys.executable, "-I", "-c", text], cwd=to, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(eval(done.stdout)) <= {"praise", "blame", "cast"}


LOAD = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
inputs = AutoTokenizer.from_pretrained(sys.argv[1])("the film is good superb witty", return_tensors="pt")
with torch.no_grad():
    print(json.dumps([model(**inputs).logits.tolist(), "autocompress" in sys.modules]))
"""
LOAD_BY_PACKAGE = LOAD.replace(
    "AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)",
    "autocompress.load_model(sys.argv[1])",
).replace("import torch\n", "import torch\nimport autocompress\n")


@pytest.mark.slow
def test_transformers_loads_a_model_of_the_added_family(
    extended: ExtendedPackage, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "exported"
    extended.run("export", searched.name, "--trial", 1, "--to", to, "--form", "transformers", cwd=searched.parent)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, str(to)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (logits,), knows_package = json.loads(done.stdout)
    assert not knows_package and max(map(abs, logits)) > 0.1
    (loaded,), _ = json.loads(extended.python(LOAD_BY_PACKAGE, to))
    assert loaded == pytest.approx(logits, abs=1e-5)


@pytest.mark.slow
def test_a_study_is_scored_by_the_added_metric(extended: ExtendedPackage, tmp_path: Path) -> None:
    data = {split: f"data/{split}.csv" for split in ("train", "validation", "test")}
    file = tiny_study(
        tmp_path, task={"data": data, "metric": "balanced_accuracy", "max_tokens": 32}, budget={"trials": 1},
        space={"weight_bits": [32, 8]}, engine={"rungs": False, "supernet": False},
    )  # fmt: skip
    extended.run("search", file.name, "--offline", cwd=tmp_path)
    (teacher, *_) = extended.json("trials", file.name, cwd=tmp_path)["trials"]
    assert teacher["quality"] > 0.8
    extended.run("export", file.name, "--trial", 1, "--to", "out", cwd=tmp_path)
    assert "| balanced_accuracy on test (80 rows) |" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_init_names_the_added_metric_among_those_that_fit(extended: ExtendedPackage, tmp_path: Path) -> None:
    tiny_study(tmp_path)
    extended.run("init", "teacher", "data", "--to", "s.yaml", "--offline", cwd=tmp_path)
    text = (tmp_path / "s.yaml").read_text(encoding="utf-8")
    assert "  metric: accuracy   # or f1, matthews_correlation, balanced_accuracy\n" in text
