"""Silver pairs: which texts are paired, how they are rated, who may ask for them, and when the teacher learns them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from autocompress.config import AutoFineTune, FineTune, StudyPlan, read_plan
from autocompress.core.errors import UsageError
from autocompress.search import auto_fine_tuning, plan_check, teacher_provider
from autocompress.search.silver_pairs import MOST_TEXTS, draw_pairs, silver_rows
from autocompress.search.stage_keys import teacher_stage
from autocompress.search.stage_timer import StageTimer
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_provider import TeacherProvider
from autocompress.storage.artifact_store import Store
from autocompress.training.fine_tuning import LabelledRows
from tests.tiny import tiny_teacher, write_rows
from tests.tiny_embeddings import tiny_encoder, tiny_pairs


def write_study(folder: Path, **fine_tune: Any) -> StudyPlan:
    """Return the plan of a study that rates pairs, whose model gives embeddings."""
    if not (folder / "encoder").exists():
        tiny_encoder(folder / "encoder")
    for seed, (split, count) in enumerate({"train": 60, "validation": 30, "test": 30}.items()):
        write_rows(folder / f"{split}.csv", tiny_pairs(count, seed))
    values = {
        "teacher": {"model": "./encoder", "fine_tune": {"epochs": 2, "learning_rate": 1e-3, "batch": 8, **fine_tune}},
        "task": {
            "kind": "regression",
            "data": {split: f"{split}.csv" for split in ("train", "validation", "test")},
            "columns": {"text": "first", "text_pair": "second", "label": "score"},
            "max_tokens": 32,
        },
        "space": {"weight_bits": [32, 8]},
        "budget": {"trials": 1},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return read_plan(folder / "study.yaml")


def test_partners_are_mostly_near_and_never_the_text_itself() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(700, 8))
    embeddings = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    left, right = draw_pairs(embeddings, 1000, np.random.default_rng(1))
    assert len(left) == len(right) == 1000 and (left != right).all()
    ranks = np.array(
        [(embeddings @ embeddings[a] > embeddings[a] @ embeddings[b]).sum() for a, b in zip(left, right, strict=True)]
    )
    assert 10 < np.median(ranks) < 40  # of an exponential with the mean 30: 21
    assert 0.03 < (ranks > 200).mean() < 0.15  # any text
    again = draw_pairs(embeddings, 1000, np.random.default_rng(1))
    assert np.array_equal(again, (left, right))
    assert np.array_equal(np.sort(draw_pairs(embeddings[:2], 20, rng), axis=0), [[0] * 20, [1] * 20])


def test_rows_are_rated_by_the_model_in_the_spread_of_the_labels(tmp_path: Path) -> None:
    plan = write_study(tmp_path, silver_pairs=80)
    data = StudyData(plan, offline=True)
    rows, known = silver_rows(plan, data, 80, offline=True), data.splits.train.labels.values
    assert len(rows) == 80 and rows.token_type_ids is not None
    assert (rows.labels.values.mean(), rows.labels.values.std()) == pytest.approx((known.mean(), known.std()), rel=1e-3)
    assert rows.labels.values.dtype == known.dtype
    texts = {text for side in (data.splits.train.texts, data.splits.train.pairs or ()) for text in side}
    separator = data.tokenizer.sep_token_id
    known_texts = {tuple(ids) for ids in data.tokenizer(sorted(texts), add_special_tokens=False)["input_ids"]}
    for ids in rows.input_ids:  # [CLS] a [SEP] b [SEP]
        first, second = np.split(ids, [int(np.flatnonzero(ids == separator)[0])])
        assert tuple(first[1:]) in known_texts and tuple(second[1:-1]) in known_texts
    assert len(texts) < MOST_TEXTS


def test_one_text_has_no_partner(tmp_path: Path) -> None:
    plan = write_study(tmp_path, silver_pairs=80)
    write_rows(tmp_path / "train.csv", [{"first": "one", "second": "one", "score": number / 9} for number in range(10)])
    with pytest.raises(UsageError, match="silver_pairs: train and the unlabelled rows hold one distinct text"):
        silver_rows(plan, StudyData(plan, offline=True), 80, offline=True)


def test_the_teacher_learns_silver_pairs_once_and_then_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, float]] = []
    real = teacher_provider.fine_tune

    def spy(model: Any, rows: LabelledRows, settings: FineTune, *rest: Any, **options: Any) -> Any:
        calls.append((len(rows), settings.epochs))
        return real(model, rows, settings, *rest, **options)

    monkeypatch.setattr(teacher_provider, "fine_tune", spy)
    plan = write_study(tmp_path, silver_pairs=40)
    data, reported = StudyData(plan, offline=True), [0.0]
    provider = TeacherProvider(plan, data, Store(tmp_path / "store"), offline=True)
    model = provider.load(StageTimer(lambda stage, fraction: reported.append(fraction)))
    assert calls == [(40, 1.0), (60, 2.0)]
    assert reported == sorted(reported) and reported[-1] == pytest.approx(1.0)
    with torch.no_grad():
        outputs = provider.forward.run_batch(data.batch(np.arange(30))).logits
    assert abs(float(outputs.mean()) - data.splits.train.labels.values.mean()) < 0.3  # in the units of the labels
    assert model.config.num_labels == 1


def test_the_key_of_a_teacher_without_silver_pairs_is_what_it_was(tmp_path: Path) -> None:
    plain, silver = (teacher_stage(write_study(tmp_path, silver_pairs=pairs), {}, "rows") for pairs in (None, 40))
    assert plain.inputs["fine_tune"] == {"epochs": 2, "learning_rate": 1e-3, "batch": 8}
    assert plain.key != silver.key


def test_silver_pairs_are_refused_where_they_have_no_use(tmp_path: Path) -> None:
    write_study(tmp_path)
    tiny_teacher(tmp_path / "plain")
    asked = "teacher.fine_tune.silver_pairs=40"
    for changes, message in (
        (["task.columns={text: first, label: score}"], "needs numbers that compare two texts"),
        (["task.kind=text-classification", "task.metric=accuracy"], "needs numbers that compare two texts"),
        (["teacher.model=./plain"], "has no modules.json"),
    ):
        with pytest.raises(
            UsageError, match=rf"study.yaml: teacher.fine_tune.silver_pairs: .*{message}.*leave it out"
        ) as error:
            plan_check.prepare(read_plan(tmp_path / "study.yaml", [asked, *changes]), offline=True)
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="silver_pairs"):
        read_plan(tmp_path / "study.yaml", ["teacher.fine_tune.silver_pairs=0"])


def test_a_search_for_settings_begins_after_the_silver_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = teacher_provider.fine_tune

    def spy(model: Any, rows: LabelledRows, *rest: Any, **options: Any) -> Any:
        calls.append(len(rows))
        return real(model, rows, *rest, **options)

    monkeypatch.setattr(teacher_provider, "fine_tune", spy)
    monkeypatch.setattr(auto_fine_tuning, "usual_length", lambda rows, labels: 600)
    plan = write_study(tmp_path)
    teacher = plan.teacher.model_copy(update={"fine_tune": AutoFineTune(silver_pairs=40)})
    plan = plan.model_copy(update={"teacher": teacher})
    provider = TeacherProvider(plan, StudyData(plan, offline=True), Store(tmp_path / "store"), offline=True)
    stages: list[str] = []
    model = provider.load(StageTimer(lambda stage, fraction: stages.append(stage)))
    assert calls == [40]  # once, before the first setting
    assert "fine-tuning the teacher: silver pairs" in stages
    record = provider.fine_tuning
    assert record is not None and len(record["trials"]) > 1
    assert model.config.num_labels == 1
