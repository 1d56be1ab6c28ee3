"""The regression task: its labels, its losses, and its head in the units of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autocompress.config import Recovery
from autocompress.core.errors import UsageError
from autocompress.models.families import load_family
from autocompress.models.forward import Forward
from autocompress.tasks._number_objective import NumberObjective
from autocompress.tasks._numbers import quantile_bins
from autocompress.tasks.regression import TASK
from tests.csv_files import CSV, three_splits, write
from tests.models import tiny_batch, tiny_model
from tests.test_text_classification import plan_of

FAMILIES = ("bert", "roberta", "distilbert", "electra")


def test_labels_are_numbers_and_unlabelled_texts_have_none(tmp_path: Path) -> None:
    data = three_splits(tmp_path, CSV + "a,0.5\nb,4\nc,2.25\n")
    more = write(tmp_path / "more.csv", "text\nnew\nother\n")
    task = TASK.read(plan_of({**data, "unlabelled": more}))
    assert task.train.labels.values.tolist() == [0.5, 4.0, 2.25]
    assert task.train.labels.values.dtype == np.float32
    assert task.label_names == ()
    assert np.isnan(task.unlabelled.labels.values).all()
    assert task.fingerprint != TASK.read(plan_of(data)).fingerprint


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("a,0.5\nb,good\n", "train.csv, row 2: label must be a number, but is 'good'; correct or remove the row"),
        ("a,1\nb,inf\n", "train.csv, row 2: label must be a number, but is inf"),
        ("a,1\nb,\n", "train.csv, row 2: label is null"),
        ("a,2\nb,2\n", "task.data.train: every row has the same label, 2; regression needs different numbers"),
        ("a,true\nb,false\n", "train.csv, row 1: label must be a number, but is True"),
    ],
)
def test_labels_that_are_no_numbers_are_refused_with_row_and_value(tmp_path: Path, train: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TASK.read(plan_of(three_splits(tmp_path, CSV + train)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_splits_hold_small_and_large_numbers_alike(tmp_path: Path) -> None:
    rows = "".join(f"text {row},{row / 100}\n" for row in range(1000))
    task = TASK.read(plan_of({"train": write(tmp_path / "a.csv", CSV + rows), "max_train_rows": 300}))
    assert len(task.train) == 300
    for split in (task.train, task.validation, task.test):
        shares = np.histogram(split.labels.values, bins=10, range=(0, 10))[0] / len(split)
        np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_quantile_bins_keep_equal_numbers_together() -> None:
    numbers = np.array([0.0] * 50 + [1.0] * 25 + list(range(2, 27)))
    bins = quantile_bins(numbers, 4)
    assert [len(set(bins[numbers == value])) for value in (0.0, 1.0)] == [1, 1]
    assert np.array_equal(np.argsort(bins, kind="stable"), np.arange(100))


def test_check_teacher_refuses_a_classifier_that_is_not_fine_tuned(tmp_path: Path) -> None:
    data = three_splits(tmp_path, CSV + "a,0.5\nb,4\n")
    with pytest.raises(
        UsageError, match=r"teacher.model: the model has 3 outputs, but regression needs 1; use a model"
    ):
        TASK.check_teacher(plan_of(data, fine_tune=False), 3)
    TASK.check_teacher(plan_of(data, fine_tune=True), 3)
    TASK.check_teacher(plan_of(data, fine_tune=False), 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_finish_fine_tuning_scales_the_output_to_the_units_of_the_data(family: str) -> None:
    model, batch = tiny_model(family, labels=1), tiny_batch(family)
    with torch.no_grad():
        before = Forward(model, load_family(family)).run_batch(batch).logits
        NumberObjective(100.0, 7.0).finish_fine_tuning(model)
        after = Forward(model, load_family(family)).run_batch(batch).logits
    torch.testing.assert_close(after, before * 7 + 100, atol=1e-3, rtol=1e-5)


def test_losses_do_not_depend_on_the_units() -> None:
    rng = torch.Generator().manual_seed(0)
    outputs, targets = (torch.randn(6, 1, generator=rng) for _ in range(2))
    labels = torch.tensor([0.1, float("nan"), 0.5, -1.0, float("nan"), 2.0])
    plain, scaled = NumberObjective(0.0, 1.0), NumberObjective(50.0, 10.0)

    def losses(objective: NumberObjective, factor: float, shift: float) -> list[float]:
        a, b, batch = outputs * factor + shift, targets * factor + shift, {"labels": labels * factor + shift}
        known = {"labels": batch["labels"].nan_to_num(shift)}
        return [
            float(objective.distillation_loss(a, b, batch, Recovery(label_weight=0.5))),
            float(objective.divergence(a, b)),
            float(objective.importance_loss(a, known)),
        ]

    assert losses(scaled, 10.0, 50.0) == pytest.approx(losses(plain, 1.0, 0.0), rel=1e-4)
    assert float(plain.divergence(outputs, outputs)) == 0.0
    fresh = float(
        scaled.loss(outputs, {"labels": torch.full((6,), 50.0)})
    )  # a head that still predicts in standard units
    assert fresh == pytest.approx(float(outputs.square().mean()))


def test_rows_disagree_and_change_by_more_than_rounding() -> None:
    expected = np.array([0.0, 1.0, 2.0, 3.0])
    assert TASK.disagreement(expected + np.array([0.0, 0.05, 0.5, -1.0]), expected) == 0.5
    recorded = np.array([[1.0], [4.0]])
    assert TASK.count_changes(recorded + 0.1, recorded) == 0
    assert TASK.count_changes(recorded + np.array([[0.0], [0.5]]), recorded) == 1
