"""Predict a number for a text or a pair of texts: similarity, rating, readability."""

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
    from transformers import PretrainedConfig

    from autocompress.config import StudyPlan
    from autocompress.data.ragged import Ragged

BINS = 10  # quantile bins of the labels, by which splits are stratified
AGREEMENT = 0.1  # of the spread of the expected numbers: predictions that differ by more disagree
ROUNDING = 0.05  # of the largest recorded output: another machine may round so much


class Regression(Task):
    """One number for each text: outputs are numbers (rows, 1) in the units of the labels."""

    name = "regression"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column("the text", "text"),
        "text_pair": Column("the second text, if rows are pairs of texts", is_required=False),
        "label": Column("the number", "label"),
    }
    default_metric = "spearman"
    auto_model = "AutoModelForSequenceClassification"
    predicts = "numbers"
    missing_label = float("nan")
    head = "regression head"
    difference = "a number that differs by more than a tenth of the standard deviation of the teacher's"
    usage = UsageCode(
        text="A text to rate.",
        show="print(float(logits[0, 0]))",
        show_in_transformers="print(float(model(**inputs).logits[0, 0]))",
    )

    def read(self, plan: StudyPlan, id2label: Mapping[int, str] | None = None) -> TaskData:
        import numpy as np

        from autocompress.data import Table
        from autocompress.tasks._numbers import quantile_bins, read_numbers
        from autocompress.tasks._text_rows import SplitLabels, read_text_rows

        def read_labels(tables: Mapping[str, Table], column: str) -> SplitLabels:
            numbers = {split: read_numbers(table, column) for split, table in tables.items()}
            if np.ptp(numbers["train"]) == 0:
                raise UsageError(
                    f"{tables['train'].place}: every row has the same {column}, {numbers['train'][0]:g}; regression needs"
                    " different numbers"
                )
            return SplitLabels((), numbers, np.array(self.missing_label, np.float32))

        return read_text_rows(
            plan, self, read_labels, lambda labels: quantile_bins(labels.values, BINS), {"task": self.name}
        )

    def check_teacher(self, plan: StudyPlan, outputs: int, offline: bool = False) -> None:
        if plan.teacher.fine_tune is None and outputs != 1:
            raise UsageError(
                f"{plan.place('teacher.model')}: the model has {outputs} outputs, but regression needs 1; use a model of this"
                " task, or add `fine_tune: auto` under `teacher`"
            )

    def head_options(self, data: TaskData) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression"}

    def check_head(self, source: str, config: PretrainedConfig, data: TaskData, is_untrained: bool) -> None:
        if is_untrained:
            raise untrained_head(source, "regression")
        if config.num_labels != 1:
            raise UsageError(
                f"teacher.model: {source!r} has {config.num_labels} outputs, but regression needs 1; use a model of this"
                " task, or add `fine_tune: auto` under `teacher`"
            )

    def objective(self, data: TaskData) -> Objective:
        from autocompress.tasks._number_objective import NumberObjective

        labels = data.train.labels.values
        return NumberObjective(float(labels.mean()), float(labels.std()))

    def predict(self, outputs: Ragged, tokens: Tokens) -> np.ndarray:
        return outputs.values[:, 0]

    def disagreement(self, predicted: np.ndarray, expected: np.ndarray) -> float:
        """Return the fraction of rows that differ by more than a tenth of the standard deviation of `expected`."""
        return float((abs(predicted - expected) > AGREEMENT * expected.std()).mean())

    def count_changes(self, outputs: np.ndarray, recorded: np.ndarray) -> int:
        """Count the rows that differ by more than 5 % of the largest recorded number."""
        return int((abs(outputs - recorded) > ROUNDING * abs(recorded).max()).any(axis=-1).sum())

    def has_head(self, architectures: Sequence[str], outputs: int) -> bool:
        """Return whether a model has a head with one output."""
        return super().has_head(architectures, outputs) and outputs == 1

    def recognize(self, values: Mapping[str, Sequence[object]], named: Mapping[str, str | None]) -> Recognition:
        """Claim data with a column of numbers that are not all whole."""
        from autocompress.tasks._recognition import check_options, find_texts, guess_numbers, guess_texts

        check_options(values, named)
        columns = guess_texts(values, named, find_texts(values), guess_numbers(values, named))
        return columns.recognition(claim=0.9, reason=f"the column {columns.label} holds numbers with a fraction")

    def describe_labels(self, values: Mapping[str, Sequence[object]], recognized: Recognition) -> LabelSummary:
        """Choose the Spearman correlation."""
        column = str(recognized.columns["label"])
        numbers = [float(str(value)) for value in values[column]]
        return LabelSummary(
            description=f"label: {column}, numbers from {min(numbers):g} to {max(numbers):g}",
            metric="spearman",
            reason="labels are numbers, so the metric is spearman: how well the rows are ordered",
            other_metrics=("pearson", "spearman"),
        )

    def result_table(self, outputs: SplitOutputs) -> ResultTable | None:
        from autocompress.tasks._number_results import number_table

        return number_table(outputs)

    def example_table(self, outputs: SplitOutputs, most: int) -> ResultTable:
        from autocompress.tasks._number_results import worse_rows_table

        return worse_rows_table(outputs, most)


TASK = Regression()
