"""What every task keeps: its declaration, and how rows, outputs, losses, predictions and metrics fit together."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autocompress
from autocompress import metrics
from autocompress.config import Recovery, StudyPlan, read_plan
from autocompress.core.errors import UsageError
from autocompress.core.task_columns import load_declaration, task_names
from autocompress.data.ragged import Ragged, load_outputs, save_outputs
from autocompress.tasks import TASKS, SplitOutputs, Task, TaskData, Tokens, load_task, unit_outputs
from tests.tiny import tiny_rows, tiny_tagged_rows, tiny_tokenizer, write_rows

each_task = pytest.mark.parametrize("name", task_names())
WIDTHS = {  # outputs of a model of the sample
    "text-classification": 3,
    "regression": 1,
    "feature-extraction": 8,
    "token-classification": 5,
}


def sample_rows(name: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows of a task, under the usual names of its columns. A new task adds its rows here."""
    if name == "token-classification":
        return tiny_tagged_rows(count, seed)
    rows = tiny_rows(count, seed, labels=3)
    if name == "regression":
        rng = np.random.default_rng(seed)
        return [{**row, "label": float(round(row["label"] + rng.normal(0, 0.2), 2))} for row in rows]
    if name == "feature-extraction":
        return [{"text": row["text"]} for row in rows]
    return rows


def plan_of(name: str, folder: Path, where: Mapping[str, Any] | None = None) -> StudyPlan:
    """Write rows of a task to files, and return a plan with them."""
    data = {
        split: str(write_rows(folder / f"{split}.parquet", sample_rows(name, count, seed)))
        for seed, (split, count) in enumerate({"train": 90, "validation": 30, "test": 30}.items())
    }
    return StudyPlan.model_validate(
        {
            "study": "s", "teacher": {"model": "x", "fine_tune": {}}, "task": {"kind": name, "data": data, **(where or {})},
            "space": {}, "storage": "sqlite:///study.db", "artifacts": {"path": "artifacts"},
        }
    )  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A task with rows, their tokens, and the outputs of two models on the validation rows."""

    task: Task
    data: TaskData
    tokens: Tokens
    outputs: SplitOutputs


@pytest.fixture
def sample(name: str, tmp_path: Path) -> Sample:
    task = load_task(name)
    data = task.read(plan_of(name, tmp_path))
    tokens = task.tokenize(data.validation, tiny_tokenizer("bert"), 32)
    counts = task.unit_counts(tokens.lengths)
    rng = np.random.default_rng(0)
    teacher, noise = (rng.normal(0, 1, (counts.sum(), WIDTHS[name])).astype(np.float32) for _ in range(2))
    both = Ragged(teacher, counts), Ragged(teacher + noise, counts)
    return Sample(task, data, tokens, SplitOutputs(data.validation, tokens, data.label_names, *both))


def test_task_files_load_neither_torch_nor_numpy() -> None:
    program = (
        "import sys; from autocompress.core.task_columns import DECLARATIONS; DECLARATIONS.entries(); "
        "print(sorted({'torch', 'numpy', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    root = Path(autocompress.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


@each_task
def test_a_task_declares_what_a_study_file_and_a_card_need(name: str) -> None:
    import transformers

    task = load_task(name)
    assert task is load_declaration(name) and task.name == name
    assert any(column.is_required for column in task.columns.values())
    assert all(column.holds for column in task.columns.values())
    assert hasattr(transformers, task.auto_model)
    assert task.predicts in metrics.METRICS.load(task.default_metric).reads
    for code in (task.usage.show, task.usage.show_in_transformers, *task.usage.imports):
        assert ast.parse(code).body
    interface = task.interface(has_pairs=True)
    assert (interface.task, interface.output) == (name, task.output)
    assert interface.axes[0] == "batch" and task.has_token_outputs == ("sequence" in interface.axes)
    assert TASKS.summary(name.replace("-", "_"))


@each_task
def test_rows_become_batches_whose_labels_are_units(name: str, sample: Sample) -> None:
    task, tokens = sample.task, sample.tokens
    assert len(tokens) == len(sample.data.validation) == 30
    assert tokens.labels.counts.tolist() == task.unit_counts(tokens.lengths).tolist()
    batch = task.pad(tokens, np.array([3, 0]), pad_id=0, multiple=8)
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["attention_mask"].sum(1).tolist() == [tokens.lengths[3], tokens.lengths[0]]
    labels = tokens.labels.values
    missing = task.missing_labels([4, 2], labels.dtype, labels.shape[1:])
    assert missing.counts.tolist() == task.unit_counts([4, 2]).tolist()
    assert Ragged.join((tokens.labels, missing)).values.dtype == tokens.labels.values.dtype


@each_task
def test_losses_are_least_where_outputs_are_the_teachers(name: str, sample: Sample) -> None:
    objective, batch = sample.task.objective(sample.data), sample_batch(sample)
    teacher = torch.from_numpy(sample.outputs.teacher.values)
    other = torch.from_numpy(sample.outputs.model.values)
    settings = Recovery(label_weight=0)
    assert float(objective.divergence(teacher, teacher)) == pytest.approx(0, abs=1e-5)
    assert float(objective.divergence(other, teacher)) > 0.1
    same, changed = (float(objective.distillation_loss(x, teacher, batch, settings)) for x in (teacher, other))
    assert same == pytest.approx(0, abs=1e-5) and changed > 0.01
    with_labels = objective.distillation_loss(other, teacher, batch, Recovery(label_weight=1))
    has_labels = not (batch["labels"] != batch["labels"]).all()
    assert torch.isfinite(with_labels) and (float(with_labels) != changed) == has_labels
    unlabelled = {"labels": torch.full_like(batch["labels"], sample.task.missing_label)}
    assert float(objective.distillation_loss(other, teacher, unlabelled, Recovery(label_weight=1))) == pytest.approx(
        changed, rel=1e-5
    )
    leaf = other.clone().requires_grad_()
    losses = [objective.importance_loss(leaf, batch), *([objective.loss(leaf, batch)] if has_labels else [])]
    for loss in losses:
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


def sample_batch(sample: Sample) -> dict[str, torch.Tensor]:
    return {"labels": torch.from_numpy(sample.tokens.labels.values)}


@each_task
def test_predictions_have_one_entry_a_row_and_fit_the_usual_metric(name: str, sample: Sample) -> None:
    task, metric = sample.task, metrics.METRICS.load(sample.task.default_metric)
    expected, predicted = (task.predict(x, sample.tokens) for x in (sample.outputs.teacher, sample.outputs.model))
    truth = task.references(sample.tokens, sample.outputs.teacher)
    assert len(expected) == len(predicted) == len(truth) == 30
    assert metric.lowest <= metric.compute(predicted, truth) <= metric.highest
    assert task.disagreement(expected, expected) == 0 < task.disagreement(predicted, expected) <= 1
    for values in task.facts(predicted, expected, truth, sample.data).values():
        assert values
    right = task.is_right(predicted, truth)
    assert right is None or right.shape == (30,)
    drawn = task.draw_predictions(
        sample.outputs.model, sample.outputs.teacher, sample.tokens, 3, np.random.default_rng(0)
    )
    assert drawn is None or [part.shape[:2] for part in drawn] == [(3, 30)] * 2


@each_task
def test_changes_are_counted_in_rows_of_outputs_of_the_models_own_shape(name: str, sample: Sample) -> None:
    shape = (4, 7, WIDTHS[name]) if sample.task.has_token_outputs else (4, WIDTHS[name])
    recorded = np.random.default_rng(0).normal(0, 1, shape)
    assert sample.task.count_changes(recorded, recorded) == 0
    assert sample.task.count_changes(recorded[::-1], recorded) in range(1, 5)


@each_task
def test_report_tables_have_cells_for_every_heading(name: str, sample: Sample) -> None:
    tables = [sample.task.result_table(sample.outputs), sample.task.example_table(sample.outputs, 5)]
    for table in filter(None, tables):
        assert table.title and table.rows
        assert all(len(cells) == len(table.head) for cells in table.rows)
    assert len(sample.task.example_table(sample.outputs, 5).rows) == 5


@each_task
def test_a_task_recognizes_its_own_data(name: str) -> None:
    from autocompress.actions.inspect_data import recognize_task

    rows = sample_rows(name, 60, 0)
    for number, row in enumerate(row for row in rows if "text" in row):
        row["text"] += f" {number}"
    values = {column: [row[column] for row in rows] for column in rows[0]}
    task, recognized = recognize_task(values, {})
    assert task.name == name
    assert set(recognized.columns) <= set(task.columns)
    summary = task.describe_labels(values, recognized)
    assert task.predicts in metrics.METRICS.load(summary.metric).reads
    assert summary.metric in summary.other_metrics


def test_load_task_lists_the_tasks_there_are() -> None:
    with pytest.raises(
        UsageError, match=r"s\.yaml: task\.kind: unknown task 'summary'; available: .*text-classification"
    ):
        load_task("summary", "s.yaml: task.kind")


# ---- study files ---------------------------------------------------------------------------------------------------


def write_study(folder: Path, task: str) -> Path:
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "config.json").write_text('{"model_type": "bert"}')
    (folder / "rows.csv").write_text("text,label\na,0.5\nb,1\n")
    file = folder / "s.yaml"
    file.write_text(f"teacher: {{model: ./model}}\ntask: {{data: {{train: rows.csv}}, {task}}}\n")
    return file


def test_a_study_file_gets_the_columns_and_the_metric_of_its_task(tmp_path: Path) -> None:
    plan = read_plan(write_study(tmp_path, "kind: regression, columns: {label: score}"))
    assert plan.task.columns == {"text": "text", "text_pair": None, "label": "score"}
    assert plan.task.metric == "spearman"
    assert read_plan(write_study(tmp_path, "kind: text-classification")).task.metric == "accuracy"
    assert read_plan(write_study(tmp_path, "kind: regression, metric: pearson")).task.metric == "pearson"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("kind: regression, columns: {labels: x}", "s.yaml: task.columns.labels: unknown key; did you mean 'label'?"),
        ("kind: regresion", "s.yaml: task.kind: unknown task 'regresion'; did you mean 'regression'?"),
        ("kind: regression, columns: {label: text}", "s.yaml: task.columns: each key must name a different column"),
        ("kind: regression, columns: 3", "s.yaml: task.columns: a mapping (`key: value` lines) is needed, but got 3"),
    ],
)
def test_a_wrong_column_is_one_sentence_with_its_place(tmp_path: Path, task: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_plan(write_study(tmp_path, task))
    assert str(caught.value).startswith(message)


# ---- rows of unequal length ----------------------------------------------------------------------------------------


def test_ragged_takes_and_pads_rows(tmp_path: Path) -> None:
    ragged = Ragged(np.arange(10).reshape(5, 2), np.array([2, 0, 3]))
    taken = ragged.take(np.array([2, 1, 0, 2]))
    assert taken.counts.tolist() == [3, 0, 2, 3]
    assert taken.values[:, 0].tolist() == [4, 6, 8, 0, 2, 4, 6, 8]
    assert ragged.padded(-1)[:, :, 0].tolist() == [[0, 2, -1], [-1, -1, -1], [4, 6, 8]]
    save_outputs(ragged, tmp_path)
    assert load_outputs(tmp_path).counts.tolist() == [2, 0, 3]
    (tmp_path / "single").mkdir()
    save_outputs(Ragged.one_each(np.arange(3)), tmp_path / "single")
    assert [path.name for path in (tmp_path / "single").iterdir()] == ["logits.npy"]
    assert load_outputs(tmp_path / "single").counts.tolist() == [1, 1, 1]


def test_unit_outputs_drop_the_padding_of_tokens() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    outputs = torch.arange(6.0).reshape(2, 3, 1)
    assert unit_outputs(outputs, mask)[:, 0].tolist() == [0.0, 1.0, 3.0]
    assert unit_outputs(outputs[:, 0], mask) is not None and unit_outputs(outputs[:, 0], mask).shape == (2, 1)
