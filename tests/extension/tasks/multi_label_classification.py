"""Give a text any number of labels: topics of an article, emotions of a comment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.core.errors import UsageError
from autocompress.core.task_columns import Column
from autocompress.tasks import (
    LabelSummary,
    Objective,
    Recognition,
    ResultTable,
    SplitOutputs,
    Task,
    TaskData,
    Tokens,
    UsageCode,
    untrained_head,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PretrainedConfig

    from autocompress.config import Recovery, StudyPlan
    from autocompress.data import Table
    from autocompress.data.ragged import Ragged
    from autocompress.tasks._text_rows import SplitLabels

UNLABELLED = -1
TIE = 1e-6  # logits so near 0 may get either answer


class MultiLabelClassification(Task):
    """A set of labels for each text: outputs are logits (rows, labels), one yes or no each; predictions are 0 and 1."""

    name = "multi-label-classification"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column("the text", "text"),
        "text_pair": Column("the second text, if rows are pairs of texts", is_required=False),
        "label": Column("the list of labels, which may be empty", "labels"),
    }
    default_metric = "micro_f1"
    auto_model = "AutoModelForSequenceClassification"
    predicts = "label sets"
    missing_label = UNLABELLED
    head = "classifier"
    usage = UsageCode(
        text="A text with several topics.",
        show='names = json.load(open("config.json"))["id2label"]\n'
        "print([names[str(label)] for label in np.flatnonzero(logits[0] > 0)])",
        show_in_transformers="print([model.config.id2label[i] for i, x in enumerate(model(**inputs).logits[0]) if x > 0])",
        imports=("import json",),
    )

    def read(self, plan: StudyPlan, id2label: Mapping[int, str] | None = None) -> TaskData:
        from autocompress.tasks._text_rows import read_text_rows

        known = tuple(id2label[index] for index in sorted(id2label)) if id2label else ()

        def read_labels(tables: Mapping[str, Table], column: str) -> SplitLabels:
            return _read_label_sets(tables, column, known, head_is_new=plan.teacher.fine_tune is not None)

        return read_text_rows(plan, self, read_labels, lambda labels: labels.argmax(1), {"task": self.name})

    def head_options(self, data: TaskData) -> dict[str, Any]:
        names = data.label_names
        label2id = {name: index for index, name in enumerate(names)}
        kind = "multi_label_classification"
        return {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": label2id,
            "problem_type": kind,
        }

    def check_head(self, source: str, config: PretrainedConfig, data: TaskData, is_untrained: bool) -> None:
        if is_untrained:
            raise untrained_head(source, "classification")
        if config.num_labels != len(data.label_names):
            raise UsageError(
                f"teacher.model: {source!r} has {config.num_labels} labels, but the data has {len(data.label_names)};"
                " use a model of this task, or add `fine_tune: auto` under `teacher`"
            )

    def objective(self, data: TaskData) -> Objective:
        return LabelSetObjective()

    def predict(self, outputs: Ragged, tokens: Tokens) -> np.ndarray:
        chosen: np.ndarray = (outputs.values > 0).astype(int)
        return chosen

    def disagreement(self, predicted: np.ndarray, expected: np.ndarray) -> float:
        return float((predicted != expected).any(axis=1).mean())

    def is_right(self, predicted: np.ndarray, references: np.ndarray) -> np.ndarray | None:
        right: np.ndarray = (predicted == references).all(axis=1)
        return right

    def count_changes(self, outputs: np.ndarray, recorded: np.ndarray) -> int:
        """Count the rows with another set of labels."""
        changed = ((outputs > 0) != (recorded > 0)) & (abs(recorded) > TIE)
        return int(changed.any(axis=-1).sum())

    def recognize(self, values: Mapping[str, Sequence[object]], named: Mapping[str, str | None]) -> Recognition:
        """Claim data with a column of lists of labels beside a text."""
        from autocompress.tasks._recognition import check_options, find_texts, guess_texts

        check_options(values, named)
        lists = [name for name, column in values.items() if all(isinstance(value, list) for value in column)]
        label = named.get("label") or next(iter(lists), None)
        if label not in lists:
            raise UsageError(f"DATA: no column holds lists of labels (available: {', '.join(values)})")
        return guess_texts(values, named, find_texts(values), label).recognition(claim=0.8)

    def describe_labels(self, values: Mapping[str, Sequence[object]], recognized: Recognition) -> LabelSummary:
        """Choose the micro-averaged F1."""
        column = str(recognized.columns["label"])
        labels = {str(label) for labels in values[column] if isinstance(labels, list) for label in labels}
        return LabelSummary(
            description=f"label: {column}, any of {len(labels)} labels",
            metric="micro_f1",
            reason="rows have any number of labels, so the metric is micro_f1",
            other_metrics=("micro_f1",),
        )

    def result_table(self, outputs: SplitOutputs) -> ResultTable | None:
        truth = outputs.rows.labels.values
        teacher, model = (self.predict(logits, outputs.tokens) for logits in (outputs.teacher, outputs.model))
        rows = tuple(
            (
                name,
                f"{truth[:, label].sum():,}",
                *(f"{(x[:, label] == truth[:, label]).mean():.3f}" for x in (teacher, model)),
            )
            for label, name in enumerate(outputs.label_names)
        )
        head = ("label", "rows", "teacher right", "model right")
        return ResultTable(title="Results by label, on test", caption="Right: yes or no.", head=head, rows=rows)

    def example_table(self, outputs: SplitOutputs, most: int) -> ResultTable:
        from autocompress.tasks._text_rows import show_text

        teacher, model = (self.predict(logits, outputs.tokens) for logits in (outputs.teacher, outputs.model))
        sets = (outputs.rows.labels.values, teacher, model)
        shown = [row for row in range(len(model)) if (teacher[row] != model[row]).any()][:most]
        cells = [(show_text(outputs.rows, row), *(_join(x[row], outputs.label_names) for x in sets)) for row in shown]
        head = ("text", "labels", "teacher", "model")
        return ResultTable(
            title=f"Texts with other labels than the teacher's ({len(cells)})", head=head, rows=tuple(cells)
        )


class LabelSetObjective(Objective):
    """Binary cross-entropy of each label, and the Kullback-Leibler divergence of each yes or no from the teacher's."""

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return self.importance_loss(outputs, batch) / len(outputs)

    def importance_loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        from torch.nn import functional as F

        labelled = batch["labels"][:, 0] != UNLABELLED
        labels = batch["labels"][labelled].float()
        return F.binary_cross_entropy_with_logits(outputs[labelled].float(), labels, reduction="sum")

    def distillation_loss(
        self, outputs: Tensor, targets: Tensor, batch: Mapping[str, Tensor], settings: Recovery
    ) -> Tensor:
        temperature = settings.temperature
        soft = temperature**2 * self.divergence(outputs, targets / temperature, temperature) / len(outputs)
        labelled = int((batch["labels"][:, 0] != UNLABELLED).sum())
        if settings.label_weight == 0 or not labelled:
            return soft
        return soft + settings.label_weight * self.importance_loss(outputs, batch) / labelled

    def divergence(self, outputs: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
        from torch.nn import functional as F

        logits, target = outputs.float() / temperature, reference.float().sigmoid()
        own = F.binary_cross_entropy_with_logits(reference.float(), target, reduction="sum")
        return F.binary_cross_entropy_with_logits(logits, target, reduction="sum") - own


def _read_label_sets(
    tables: Mapping[str, Table], column: str, known: tuple[str, ...], head_is_new: bool
) -> SplitLabels:
    """Return the sets of every split as (rows, labels) of 0 and 1; labels are in the model's order if it names the same."""
    import numpy as np

    from autocompress.tasks._text_rows import SplitLabels

    sets = {split: [_read_set(table, row, column) for row in range(len(table))] for split, table in tables.items()}
    found = tuple(sorted(set().union(*sets["train"])))
    if known and set(known) != set(found) and not head_is_new:
        raise UsageError(
            f"{tables['train'].place}: the model knows {', '.join(known)}, but train has {', '.join(found)}"
        )
    names = known if set(known) == set(found) else found
    for split, table in tables.items():
        for row, labels in enumerate(sets[split]):
            if unknown := labels - set(names):
                raise UsageError(f"{table.row_place(row)}: train has no row with label {min(unknown)!r}")
    arrays = {
        split: np.array([[name in labels for name in names] for labels in sets[split]], np.int64) for split in tables
    }
    return SplitLabels(names, arrays, np.full(len(names), UNLABELLED, np.int64))


def _read_set(table: Table, row: int, column: str) -> set[str]:
    value = table.columns[column][row]
    if not isinstance(value, list):
        raise UsageError(f"{table.row_place(row)}: {column} must be a list of labels, but is {value!r:.60}")
    return {str(label) for label in value}


def _join(chosen: np.ndarray, names: Sequence[str]) -> str:
    return ", ".join(name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen) or "none"


TASK = MultiLabelClassification()
