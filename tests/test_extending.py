"""An entry is one file: written in a folder of the test's own and added to a copy of the package, it is used end to end."""

from __future__ import annotations

import json
import pickle
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tokenizers import Tokenizer

from autocompress.core.domain import Anatomy
from autocompress.core.technique import STAGES, TECHNIQUES, Technique, ordered_techniques
from tests.extended_package import ROOT, ExtendedPackage, extend_package
from tests.tiny import tiny_study

ACTIVE: dict[str, Any] = {  # each added decision with a value that changes something, in the order of application
    "articles": "drop",
    "neuron_multiple": 24,
    "confidence_penalty": 20,
    "fake_quantization": "straight_through",
    "bias_bits": 16,
    "temperature": 2,
}
NEUTRAL = {"articles": "keep", "neuron_multiple": 1, "confidence_penalty": 0, "fake_quantization": "none",
           "bias_bits": 32, "temperature": 1}  # fmt: skip
FIRST = {"depth": "1/3", "weight_bits": 8, **ACTIVE}


@pytest.fixture(scope="session")
def extended(tmp_path_factory: pytest.TempPathFactory) -> ExtendedPackage:
    """A copy of the package with an entry of every stage."""
    return extend_package(tmp_path_factory.mktemp("extended"))


# ---- the entries of this package -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TECHNIQUES.names())
def test_every_technique_keeps_the_contract(name: str) -> None:
    technique, anatomy = TECHNIQUES.load(name), Anatomy(6)
    assert technique.name == name and technique.stage in STAGES and technique.version >= 1
    assert type(pickle.loads(pickle.dumps(technique))) is type(technique)
    for neutral in (technique.neutral(None), technique.neutral(anatomy)):
        assert not technique.is_active(neutral) or neutral == technique.neutral(anatomy)
        assert neutral is None or technique.domain.parse(name, neutral, anatomy, "here") == neutral
    values = technique.domain.examples() or ("some_name",)
    assert all(isinstance(value, technique.domain.value_type) for value in values)
    assert all(technique.describe(value) for value in values if technique.is_active(value))
    assert technique.domain.describe() and TECHNIQUES.summary(name)
    earlier = list(ordered_techniques())[: list(ordered_techniques()).index(name)]
    assert set(technique.reads) <= set(ordered_techniques() if technique.stage == "training" else earlier)


def test_techniques_load_nothing_heavy() -> None:
    code = (
        "import sys; from autocompress.core.technique import ordered_techniques as all_; "
        "[t.describe(t.neutral(None)) for t in all_().values()]; "
        "print([name for name in ('torch', 'numpy', 'onnx', 'transformers', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


# ---- techniques of every stage -------------------------------------------------------------------------------------


def test_added_techniques_are_listed_in_the_order_of_their_stages(extended: ExtendedPackage) -> None:
    listed = {entry["name"]: entry for entry in extended.json("list", "techniques")["techniques"]}
    assert [name for name in listed if name in ACTIVE] == list(ACTIVE)
    assert next(iter(listed)) == "articles" and list(listed)[-1] == "temperature"
    assert listed["temperature"]["summary"].startswith("Divide the logits by a temperature")
    assert "32, 16 in onnxruntime" in listed["bias_bits"]["here"]
    assert [name for name in listed if name not in ACTIVE] == list(ordered_techniques())


def test_added_techniques_change_no_key_of_a_recipe_without_them(extended: ExtendedPackage) -> None:
    program = """
import json, sys
from autocompress.core.recipe import Recipe
active, neutral = json.loads(sys.argv[1]), json.loads(sys.argv[2])
recipe = Recipe(depth=2, head_sparsity=0.5, **active)
print(json.dumps({
    "old": Recipe(depth=2, head_sparsity=0.5).key, "neutral": Recipe(depth=2, head_sparsity=0.5, **neutral).key,
    "active": recipe.key, "text": recipe.describe(), "trained": recipe.trained().as_dict(),
    "plain": recipe.replace(fake_quantization="none", weight_bits=8).trained()["weight_bits"],
}))
"""
    seen = json.loads(extended.python(program, json.dumps({**ACTIVE, "weight_bits": 8}), json.dumps(NEUTRAL)))
    assert seen["old"] == seen["neutral"] == "a6f992a412a1658c29e2c1de80c22dd9142ec1d14737ea6c98ff0187a1da1201"
    assert seen["active"] != seen["old"]
    assert seen["text"] == (
        "no articles · 2 layers · −50% heads · neurons in 24s · 20 % confidence penalty · trained in its bits · 8-bit · "
        "16-bit biases · temperature 2"
    )
    assert seen["trained"] | {"bias_bits": 32, "temperature": 1} == seen["trained"]  # one training serves all of them
    assert seen["trained"]["weight_bits"] == 8  # read by the training
    assert seen["plain"] == 32


def test_keys_of_weights_and_outputs_contain_what_they_depend_on(extended: ExtendedPackage) -> None:
    program = """
import json, sys
from autocompress.config import Engine, Recovery
from autocompress.core.recipe import Recipe
from autocompress.search.stage_keys import TrainedStages, data_stages, outputs_stage
stages = TrainedStages("t", Recovery(), Engine(), 0, {"depth": (1, 2)})
plain = Recipe(depth=1)
names = json.loads(sys.argv[1])
changed = {name: stages.weights(plain.replace(**{name: value}), 2).key != stages.weights(plain, 2).key
           for name, value in names.items()}
trained_in = [plain.replace(fake_quantization="straight_through", weight_bits=bits) for bits in (8, 4)]
outputs = [outputs_stage("a", "d", "test", {}, 32, data_stages(recipe)).key
           for recipe in (plain, plain.replace(articles="drop"))]
print(json.dumps({"weights": changed, "read": len({stages.weights(recipe, 2).key for recipe in trained_in}),
                  "outputs": outputs}))
"""
    seen = json.loads(extended.python(program, json.dumps(ACTIVE)))
    untrained = {"bias_bits", "temperature"}
    assert seen["weights"] == {name: name not in untrained for name in ACTIVE}
    assert seen["read"] == 2
    # the key of the version before decisions about data
    assert seen["outputs"][0] == "4f05f3d29bc8f612f33c8145397f28872c20f330dbdc65385565c7b25656c56f"
    assert seen["outputs"][1] != seen["outputs"][0]


@pytest.mark.slow
def test_every_hook_is_called_for_a_tiny_candidate(extended: ExtendedPackage, tmp_path: Path) -> None:
    recovery = {"epochs": 1, "learning_rate": 2e-3, "batch": 16, "copies": 1}
    engine = {"rungs": False, "supernet": False}
    file = tiny_study(tmp_path, teacher={"model": "./teacher"}, engine=engine, recovery=recovery)
    seen = json.loads(extended.python(HOOKS, file, json.dumps(ACTIVE)))
    plain, active = seen["plain"], seen["active"]
    assert active["tokens"] < plain["tokens"] and active["rows"] == plain["rows"]
    assert active["copies"] < plain["copies"] and active["masked"] > 0
    assert plain["neurons"] == [64] and active["neurons"] == [48]
    assert active["details"] == {"neuron_multiple": 24}
    assert len({result["weights"] for result in seen.values()}) == 4  # each decision about training changes them
    assert active["modules"] == ["Linear"]  # without the rounding that the training put around them
    assert active["float16"] > 0 == plain["float16"]
    assert active["ratio"] == pytest.approx(0.5, rel=1e-3)  # of the artifact's logits to those of the model


HOOKS = """
import json, sys, tempfile
from pathlib import Path
import numpy as np, onnx, torch
from autocompress.config import read_plan
from autocompress.core.recipe import Recipe
from autocompress.runtimes import onnxruntime
from autocompress.search.stage_timer import StageTimer
from autocompress.search.trial_pipeline import TrialPipeline
from autocompress.storage.artifact_store import Store

def silent(stage, fraction): pass

plan, results = read_plan(sys.argv[1]), {}
pipeline = TrialPipeline(plan, Store(Path(tempfile.mkdtemp())))
active = json.loads(sys.argv[2])
trainings = {name: {name: active[name]} for name in ("confidence_penalty", "fake_quantization")}
for name, decisions in {"plain": {}, "active": active, **trainings}.items():
    recipe = Recipe(depth=1, weight_bits=8, **decisions)
    candidate = pipeline.rebuild(recipe, 2, silent)
    context, exact = pipeline.context, Recipe(**{**recipe, "weight_bits": 32})
    data, rows = context.data_for(recipe), context.distillation_set_for(recipe)
    count = len(data.tokens["train"])
    structure = context.structure(recipe, StageTimer(silent))
    candidate.recipe = exact  # products in fp32: logits are compared
    folder = Path(tempfile.mkdtemp())
    pipeline.write_artifact(candidate, folder, "onnxruntime")
    ids = torch.tensor([[2, 5, 23, 3]])
    with torch.no_grad():
        logits = candidate.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.numpy()
    feeds = {"input_ids": ids.numpy(), "attention_mask": np.ones((1, 4), np.int64)}
    shown = onnxruntime.open_session(folder, 1).run(feeds)
    graph = onnx.load(folder / "model.onnx").graph
    layer = candidate.family.parts(candidate.model)[0]
    results[name] = {
        "tokens": sum(data.lengths("train")), "rows": len(rows.lengths), "copies": sum(rows.lengths[count:]),
        "masked": int(sum((row == data.tokenizer.mask_token_id).sum() for row in rows.tokens.input_ids[count:])),
        "neurons": list(candidate.neurons), "details": dict(structure.details),
        "weights": float(layer.ffn_in.weight.abs().sum()), "modules": [type(layer.ffn_in).__name__],
        "float16": sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer),
        "ratio": float(np.abs(shown).sum() / np.abs(logits).sum()),
    }
print(json.dumps(results))
"""


@pytest.fixture(scope="session")
def searched_with_added(extended: ExtendedPackage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a study that searched every added decision."""
    space = {
        "depth": [1, 2],
        "weight_bits": [8, 32],
        **{name: [NEUTRAL[name], value] for name, value in ACTIVE.items()},
        "initial": [FIRST, {}],
    }
    engine = {"rungs": False, "supernet": False}
    file = tiny_study(tmp_path_factory.mktemp("study"), space=space, budget={"trials": 2}, engine=engine)
    extended.run("search", file.name, "--offline", cwd=file.parent)
    return file


def trial_with_all(rows: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    (row,) = (row for row in rows if ACTIVE.items() <= row["recipe"].items())
    return row


@pytest.mark.slow
def test_a_search_tries_added_techniques(extended: ExtendedPackage, searched_with_added: Path) -> None:
    rows = extended.json("trials", searched_with_added.name, cwd=searched_with_added.parent)["trials"]
    row = trial_with_all(rows)
    assert row["state"] == "complete" and row["quality"] is not None and row["recipe"]["depth"] == 1
    assert all(NEUTRAL.items() <= other["recipe"].items() for other in rows[:1])  # the teacher
    front = extended.json("front", searched_with_added.name, cwd=searched_with_added.parent)
    assert all(set(ACTIVE) <= set(member["recipe"]) for member in front["trials"])


@pytest.mark.slow
def test_added_techniques_are_columns_and_optuna_parameters(
    extended: ExtendedPackage, searched_with_added: Path
) -> None:
    connection = sqlite3.connect(searched_with_added.parent / "tiny" / "study.db")
    cursor = connection.execute("SELECT * FROM results ORDER BY trial")
    names = [column[0] for column in cursor.description]
    values = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    parameters = {name for (name,) in connection.execute("SELECT DISTINCT param_name FROM trial_params")}
    recorded = connection.execute("SELECT recipe, facts FROM ac_candidates WHERE state = 'complete'").fetchall()
    facts = next(json.loads(facts) for recipe, facts in recorded if ACTIVE.items() <= json.loads(recipe).items())
    connection.close()
    assert names[5:][: len(ordered_techniques()) + len(ACTIVE)][0] == "articles"
    assert any(ACTIVE.items() <= row.items() for row in values)
    assert set(ACTIVE) <= parameters
    assert facts["structure"]["details"] == {"neuron_multiple": 24}
    assert facts["structure"]["neurons"] == facts["neurons"] == [48]


@pytest.mark.slow
def test_an_exported_model_holds_what_added_techniques_did(
    extended: ExtendedPackage, searched_with_added: Path, tmp_path: Path
) -> None:
    folder, to = searched_with_added.parent, tmp_path / "exported"
    row = trial_with_all(extended.json("trials", searched_with_added.name, cwd=folder)["trials"])
    extended.run("export", searched_with_added.name, "--trial", row["trial"], "--to", to, cwd=folder)
    assert extended.json("verify", to)["passed"]
    tokenizer = Tokenizer.from_file(str(to / "tokenizer.json"))
    assert tokenizer.encode("the good film and a plot").tokens == ["[CLS]", "good", "film", "plot", "[SEP]"]
    load = (
        "import sys; from transformers import AutoTokenizer; "
        "print(AutoTokenizer.from_pretrained(sys.argv[1])('the film').input_ids)"
    )
    assert len(json.loads(extended.python(load, to))) == 3
    assert json.loads((to / "recipe.json").read_text())["recipe"] == row["recipe"]
    card = (to / "README.md").read_text(encoding="utf-8")
    assert "| articles | drop |" in card and "no articles" in card
    page = tmp_path / "report.html"
    extended.run("report", searched_with_added.name, "--trial", row["trial"], "--to", page, cwd=folder)
    text = page.read_text(encoding="utf-8")
    assert "no articles" in text and all(name.replace("_", " ") in text or name in text for name in ACTIVE)


@pytest.mark.slow
def test_a_study_with_added_techniques_goes_on(extended: ExtendedPackage, searched_with_added: Path) -> None:
    before = extended.json("trials", searched_with_added.name, cwd=searched_with_added.parent)["trials"]
    extended.run("search", searched_with_added.name, "--trials", 3, "--offline", cwd=searched_with_added.parent)
    after = extended.json("trials", searched_with_added.name, cwd=searched_with_added.parent)["trials"]
    assert len(after) > len(before)
    assert [row["sha256"] for row in after[: len(before)]] == [row["sha256"] for row in before]


def test_added_techniques_have_pages_in_the_reference(extended: ExtendedPackage) -> None:
    program = (
        f"import json, sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import reference; "
        "print(json.dumps(reference.build_pages()))"
    )
    pages = json.loads(extended.python(program))
    for name in ACTIVE:
        assert f"# {name}\n" in pages[f"decisions/{name}.md"]
        assert f"| `{name}` |" in pages["reference/decisions.md"]
    assert "Silva and Ribeiro 2003" in pages["decisions/articles.md"]
    assert "decisions/depth.md" not in pages  # written by hand


def test_a_space_names_what_an_added_technique_lacks(extended: ExtendedPackage, tmp_path: Path) -> None:
    program = """
import sys
from autocompress.config import read_plan
from autocompress.core.errors import UsageError
try:
    read_plan(sys.argv[1])
except UsageError as error:
    print(error)
"""
    file = tiny_study(tmp_path, space={"articlez": "drop"})
    assert "tiny.yaml: space.articlez: unknown decision 'articlez'; did you mean 'articles'" in extended.python(
        program, file
    )
    file = tiny_study(tmp_path, space={"depth": 1, "initial": [{"dept": 1}]})
    assert "tiny.yaml: space.initial.0.dept: unknown decision 'dept'; did you mean 'depth'" in extended.python(
        program, file
    )


def test_a_technique_without_its_object_is_refused_by_name(tmp_path: Path) -> None:
    package = extend_package(tmp_path)
    (tmp_path / "autocompress" / "techniques" / "text" / "empty.py").write_text('"""Do nothing."""\n')
    program = """
from autocompress.core.technique import ordered_techniques
try:
    ordered_techniques()
except TypeError as error:
    print(error)
"""
    assert (
        "autocompress.techniques.text.empty: `TECHNIQUE` must be an instance of Technique, but is None"
        in package.python(program)
    )


def test_the_technique_of_the_docs_is_used_as_the_page_says(tmp_path: Path) -> None:
    package, page = (
        extend_package(tmp_path),
        (ROOT / "docs/pages/how-to/add-a-technique.md").read_text(encoding="utf-8"),
    )
    title, text = re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', page, re.DOTALL | re.MULTILINE)[0]
    (tmp_path / title).write_text(text, encoding="utf-8")
    space = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[0])["space"]
    program = """
import json, sys
from tokenizers import Tokenizer, models
from autocompress.core.domain import Anatomy
from autocompress.core.technique import TECHNIQUES, ordered_techniques
from autocompress.space.parsing import resolve_space
space = resolve_space(json.loads(sys.argv[1]), Anatomy(6), {}, "space")
tokenizer = Tokenizer(models.WordLevel({}, "?"))
ordered_techniques()["apostrophes"].edit_tokenizer(tokenizer, "plain")
recipe = space.canonical({"apostrophes": "plain"})
normalized = tokenizer.normalizer.normalize_str("it’s")
print(json.dumps([TECHNIQUES.summary("apostrophes"), space.choices["apostrophes"], normalized, recipe.describe()]))
"""
    summary, choices, normalized, text = json.loads(package.python(program, json.dumps(space)))
    assert summary == "Write typographic apostrophes as plain ones before a text is cut into tokens."
    assert choices == ["keep", "plain"] and normalized == "it's" and text.startswith("plain apostrophes · 2 layers")


def test_support_files_are_no_entries() -> None:
    names = TECHNIQUES.names()
    assert not {"stages", "building", "structure", "probing"} & set(names) and all(not n.startswith("_") for n in names)
    assert all(isinstance(technique, Technique) for technique in TECHNIQUES.entries().values())
