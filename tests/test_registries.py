"""What every entry of every registry keeps. `test_extending_contracts.py` runs this file over added entries, too."""

from __future__ import annotations

import ast
import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path
from string import Formatter

import pytest

import autocompress
from autocompress.core import registry
from autocompress.core.errors import UsageError
from autocompress.core.registry import FOLDERS, KINDS, Registry
from autocompress.core.technique import TECHNIQUES
from autocompress.metrics import METRICS
from autocompress.models.attentions import ATTENTIONS
from autocompress.models.blocks import BLOCKS
from autocompress.models.families import FAMILIES, find_family_name
from autocompress.runtimes import RUNTIMES
from autocompress.tasks import TASKS

REGISTRIES: dict[str, Registry[object]] = {
    entries.kind: entries  # type: ignore[misc]  # registries of different types
    for entries in (TECHNIQUES, TASKS, METRICS, FAMILIES, BLOCKS, ATTENTIONS, RUNTIMES)
}
EVERY_ENTRY = [(kind, name) for kind in KINDS for name in registry.names(kind)]
PACKAGE = Path(autocompress.__file__).parent
HEAVY = ("torch", "transformers", "datasets", "evaluate", "onnx", "onnxruntime", "openvino", "tokenizers")
PICKLED = ("techniques", "tasks")  # that a job may carry to another process


def test_every_kind_has_a_registry() -> None:
    assert set(REGISTRIES) == set(KINDS) == set(FOLDERS)


@pytest.mark.parametrize(("kind", "name"), EVERY_ENTRY)
def test_an_entry_is_one_documented_object_of_its_kind(kind: str, name: str) -> None:
    entries = REGISTRIES[kind]
    entry = entries.load(name)
    assert isinstance(entry, entries.entry_type) and entries.load(name) is entry
    own_name = getattr(entry, "name", name)
    assert own_name == (name.replace("_", "-") if kind == "tasks" else name)
    summary = entries.summary(name)
    assert summary and summary[0] != " " and summary[-1] in ".:" and len(summary) < 140
    if kind in PICKLED:
        assert type(pickle.loads(pickle.dumps(entry))) is type(entry)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_entry_is_one_sentence_with_the_names_there_are(kind: str) -> None:
    with pytest.raises(UsageError, match=f"here: unknown .*available: .*{registry.names(kind)[0]}"):
        REGISTRIES[kind].load("no_such_entry", "here")


def test_entries_load_nothing_heavy() -> None:
    program = f"""
import json, sys
from importlib import import_module
loaded = {{}}
modules = ("core.technique TECHNIQUES", "core.task_columns DECLARATIONS", "models.families FAMILIES",
           "models.blocks BLOCKS", "models.attentions ATTENTIONS", "metrics METRICS", "runtimes RUNTIMES")
for module, variable in map(str.split, modules):
    entries = getattr(import_module("autocompress." + module), variable)
    entries.entries()
    loaded[entries.kind] = sorted(set({HEAVY!r}) & set(sys.modules))
    if entries.kind == "tasks":
        loaded["declarations"] = ["numpy"] * ("numpy" in sys.modules)
print(json.dumps(loaded))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    loaded = json.loads(done.stdout)
    assert loaded == {key: [] for key in (*KINDS, "declarations")}


# ---- single kinds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES.names())
def test_a_family_names_a_block_and_model_types_of_its_own(name: str) -> None:
    family = FAMILIES.load(name)
    assert family.block in BLOCKS.names() and family.heads and family.is_known
    assert [find_family_name(kind) for kind in family.model_types] == [name] * len(family.model_types)
    if family.adapter is not None:  # an exported folder holds a copy of its file
        assert inspect.getsourcefile(family.adapter.describe) == inspect.getsourcefile(family.adapter.adapt)


@pytest.mark.parametrize("name", ATTENTIONS.names())
def test_an_attention_can_be_copied_and_excludes_features_that_exist(name: str) -> None:
    source = (PACKAGE / "models" / "attentions" / f"{name}.py").read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    roots = {(node.module or "").split(".")[0] for node in imports if node.level == 0}
    assert roots <= {*sys.stdlib_module_names, "torch"} and all(node.level <= 1 for node in imports)
    features = {feature for family in FAMILIES.entries().values() for feature in family.features}
    assert set(ATTENTIONS.load(name).excludes) <= features


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_has_a_metric_that_reads_what_it_predicts(name: str) -> None:
    task = TASKS.load(name)
    assert task.predicts in METRICS.load(task.default_metric).reads


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_a_runtime_has_files_and_a_snippet_that_can_be_filled_in(name: str) -> None:
    runtime = RUNTIMES.load(name)
    assert runtime.model_files and runtime.package
    snippet = runtime.snippet
    fields = {field for text in (snippet.opening, snippet.call) for _, field, *_ in Formatter().parse(text) if field}
    assert fields <= {"threads", "inputs"} and "{inputs}" in snippet.call
    code = f"{snippet.imports}\n{snippet.opening.format(threads=1)}\n{snippet.call.format(inputs='{}')}"
    assert ast.parse(code).body
