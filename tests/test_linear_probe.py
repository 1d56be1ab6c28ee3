"""Linear probes: what they fit for each family, on which rows, in which studies, and that older studies have none."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autocompress.config import AutoFineTune, FineTune, StudyPlan, read_plan
from autocompress.core.errors import UsageError
from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.models.families import load_family
from autocompress.models.forward import open_forward
from autocompress.models.teacher import load_teacher
from autocompress.search import auto_fine_tuning, teacher_provider
from autocompress.search.fine_tuning_length import PROBED_ROWS, PROBED_SHARE, READ_COST, probe_size, search_size
from autocompress.search.fine_tuning_rows import FineTuningRows
from autocompress.search.plan_check import complete_plan, prepare
from autocompress.search.stage_keys import teacher_stage
from autocompress.search.stage_timer import StageTimer
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_provider import TeacherProvider
from autocompress.storage.artifact_store import Store
from autocompress.training.evaluation import evaluate_rows
from autocompress.training.fine_tuning import LabelledRows
from autocompress.training.linear_probe import feature_spread, fit_linear_probe, set_output_layer
from tests.tiny import FAMILIES, tiny_rows, tiny_study, tiny_teacher, write_rows


def open_study(folder: Path, family: str = "bert", labels: int = 2, **fine_tune: Any) -> tuple[StudyPlan, StudyData]:
    """Return a study whose pretrained model tells texts apart."""
    tiny_teacher(folder / "teacher", family, spread=0.2, labels=labels)
    file = tiny_study(folder, family=family, teacher={"model": "./teacher", "fine_tune": fine_tune or {"epochs": 1}})
    for seed, (split, count) in enumerate({"train": 240, "validation": 60, "test": 60}.items()):
        write_rows(folder / "data" / f"{split}.csv", tiny_rows(count, seed, labels=labels))
    plan = read_plan(file)
    return plan, StudyData(plan, offline=True)


def logits_of(model: Any, data: StudyData, rows: LabelledRows) -> np.ndarray:
    forward = open_forward(model.eval(), load_family(model.config.model_type))
    return evaluate_rows(forward, rows.batch_of, rows.lengths, data.objective)[0].values


def untrained(plan: StudyPlan, data: StudyData) -> Any:
    return load_teacher(plan.teacher.model, data.task, data.splits, True, plan.seed, offline=True)


def quiet(fraction: float) -> None:
    """Report no progress."""


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_new_head_predicts_what_the_frozen_layers_know(tmp_path: Path, family: str, labels: int) -> None:
    plan, data = open_study(tmp_path, family, labels)
    model, rows = untrained(plan, data), FineTuningRows(data, "accuracy", 0).all
    truth = data.tokens["train"].labels.values
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = float((logits_of(model, data, rows).argmax(1) == truth).mean())
    weights = fit_linear_probe(model, rows, quiet)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    set_output_layer(model, weights)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert {name.rpartition(".")[2] for name in changed} == {"weight", "bias"} and len(changed) == 2
    fitted = float((logits_of(model, data, rows).argmax(1) == truth).mean())
    assert fitted > max(random, 1 / labels) + 0.1


def test_its_logits_are_those_of_logistic_regression(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    for labels in (2, 3):
        plan, data = open_study(tmp_path / str(labels), labels=labels)
        model, rows = untrained(plan, data), FineTuningRows(data, "accuracy", 0).all
        set_output_layer(model, fit_linear_probe(model, rows, quiet))
        read: list[torch.Tensor] = []
        hook = model.classifier.register_forward_pre_hook(lambda module, inputs, to=read: to.append(inputs[0]))
        logits = torch.from_numpy(logits_of(model, data, LabelledRows(rows.batch_of, [1] * len(rows))))  # in order
        hook.remove()
        features = torch.cat(read).float().numpy().astype(np.float64)  # bf16 where the CPU has it
        features = (features - features.mean(0)) / feature_spread(features)
        truth = data.tokens["train"].labels.values
        expected = LogisticRegression(C=0.1, max_iter=200, tol=1e-3).fit(features, truth).predict_proba(features)
        np.testing.assert_allclose(logits.softmax(1).numpy(), expected, atol=0.02)  # other order of rows, float32


def test_a_label_without_rows_is_never_predicted_and_one_label_alone_is_left(tmp_path: Path) -> None:
    plan, data = open_study(tmp_path, labels=3)
    model, tokens = untrained(plan, data), data.tokens["train"]
    for kept, expected in (((0, 2), {0, 2}), ((1,), None)):
        rows = tokens.take(np.flatnonzero(np.isin(tokens.labels.values, kept)))
        known = LabelledRows(partial(data.training_batch, rows), rows.lengths)
        weights = fit_linear_probe(model, known, quiet)
        assert bool(weights) == (expected is not None)
        set_output_layer(model, weights)
        if expected:
            assert set(logits_of(model, data, FineTuningRows(data, "accuracy", 0).all).argmax(1).tolist()) == expected


def test_it_reads_no_row_that_settings_are_judged_on(tmp_path: Path) -> None:
    _, data = open_study(tmp_path, labels=3)
    rows = FineTuningRows(data, "accuracy", 0)
    judged = {ids.tobytes() for ids in rows.judged.tokens.input_ids}
    for count in (9, 60, 1000):
        probed = rows.probed(count)
        assert len(probed) == min(count, len(rows.learned))
        batch = probed.batch_of(np.arange(len(probed)))
        mask = batch["attention_mask"].bool()
        texts = {
            ids[keep].numpy().astype(np.int32).tobytes() for ids, keep in zip(batch["input_ids"], mask, strict=True)
        }
        assert not texts & judged
        assert set(batch["labels"].tolist()) == {0, 1, 2}
    assert judged


def test_layers_that_hardly_tell_texts_apart_keep_their_head(tmp_path: Path) -> None:
    plan, data = open_study(tmp_path)
    model, rows = untrained(plan, data), FineTuningRows(data, "accuracy", 0).all
    assert fit_linear_probe(model, rows, quiet)
    with torch.no_grad():
        model.bert.pooler.dense.weight.mul_(1e-3)  # its bias is what remains
        model.bert.pooler.dense.bias.fill_(0.5)
    assert fit_linear_probe(model, rows, quiet) == {}


def test_a_feature_that_hardly_varies_gets_no_large_weight() -> None:
    draws = np.random.default_rng(0)
    features = draws.normal(size=(500, 4)) * (1.0, 0.5, 1e-4, 0.0)
    spread = feature_spread(features)
    np.testing.assert_allclose(spread[:2], features[:, :2].std(0))
    assert (spread[2:] > 0.05).all()


@pytest.mark.parametrize("affordable", [None, 3.0, 100.0, 12_345.6, 1e7])
def test_its_rows_fit_the_time(affordable: float | None) -> None:
    for labels, most in ((2, 900), (77, 7200), (151, PROBED_ROWS)):
        rows = probe_size(most, labels, affordable)
        assert rows <= most and (rows == 0 or rows >= labels)
        if affordable is None:
            assert rows == min(most, 1_000_000 // labels)
        else:
            assert rows <= PROBED_SHARE * affordable
            assert search_size(1000, affordable, rows).length <= max(1000, affordable - READ_COST * rows)
        assert probe_size(0, labels, affordable) == 0


def test_the_teacher_is_what_the_printed_settings_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_fine_tuning, "usual_length", lambda rows, labels: 600)
    plan, data = open_study(tmp_path, auto=True, linear_probe_rows=100)
    stages: list[str] = []
    timer = StageTimer(lambda stage, fraction: stages.append(stage))
    provider = TeacherProvider(plan, data, Store(tmp_path / "auto"), offline=True)
    model = provider.load(timer)
    record = FineTuningRecord.from_facts({"fine_tuning": provider.fine_tuning})
    assert record is not None and record.settings["linear_probe_rows"] == 100
    assert "after a linear probe of 100 rows" in record.describe()
    assert "fine-tuning the teacher: a linear probe" in stages
    given = plan.teacher.model_copy(update={"fine_tune": FineTune.model_validate(record.settings)})
    again = TeacherProvider(plan.model_copy(update={"teacher": given}), data, Store(tmp_path / "given"), offline=True)
    for first, second in zip(model.parameters(), again.load(timer).parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("settings", [{"auto": True}, {"epochs": 1}])
def test_a_probe_that_is_left_out_is_not_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr(auto_fine_tuning, "usual_length", lambda rows, labels: 200)
    for module in (auto_fine_tuning, teacher_provider):
        monkeypatch.setattr(module, "fit_linear_probe", lambda *arguments: {})
    plan, data = open_study(tmp_path, linear_probe_rows=100, **settings)
    provider = TeacherProvider(plan, data, Store(tmp_path / "store"), offline=True)
    provider.load(StageTimer(lambda stage, fraction: None))
    record = FineTuningRecord.from_facts({"fine_tuning": provider.fine_tuning})
    assert record is not None and not record.settings.get("linear_probe_rows")
    assert "probe" not in record.describe()


def test_a_study_of_before_goes_on_without(tmp_path: Path) -> None:
    plan, _ = open_study(tmp_path, auto=True)
    new = complete_plan(plan.as_stored(None), offline=True)
    assert isinstance(new.teacher.fine_tune, AutoFineTune) and new.teacher.fine_tune.linear_probe_rows == PROBED_ROWS
    stored = new.identity()
    assert complete_plan(plan.as_stored(stored), offline=True) == new
    del stored["teacher"]["fine_tune"]["linear_probe_rows"]  # as it was
    old = complete_plan(plan.as_stored(stored), offline=True)
    assert isinstance(old.teacher.fine_tune, AutoFineTune) and old.teacher.fine_tune.linear_probe_rows == 0
    assert "teacher" not in " ".join(old.difference(stored))
    keys = {teacher_stage(each, {}, "rows").key for each in (plan, old, new)}
    assert len(keys) == 2 and teacher_stage(plan, {}, "rows").key == teacher_stage(old, {}, "rows").key


def test_other_tasks_refuse_it_and_get_none(tmp_path: Path) -> None:
    from tests.test_silver_pairs import write_study

    plan = write_study(tmp_path, linear_probe_rows=20)
    with pytest.raises(
        UsageError, match=r"fine_tune.linear_probe_rows: it fits a classifier .* predicts numbers; leave"
    ):
        prepare(plan, offline=True)
    auto = plan.teacher.model_copy(update={"fine_tune": AutoFineTune()})
    assert complete_plan(plan.model_copy(update={"teacher": auto}), offline=True).teacher.fine_tune == AutoFineTune()
