"""Classify a text or a pair of texts: sentiment, topic, intent, entailment, paraphrase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from autocompress.core.task_columns import Column
from autocompress.tasks import (
    LabelSummary,
    Recognition,
    ResultTable,
    SplitOutputs,
    TaskData,
    Tokens,
    UsageCode,
)
from autocompress.tasks._named_labels import NamedLabels

if TYPE_CHECKING:
    import numpy as np

    from autocompress.config import StudyPlan
    from autocompress.data.ragged import Ragged

RARE = 0.15  # below this fraction of rows for the rarest label, accuracy says little


class TextClassification(NamedLabels):
    """One of several labels for each text: outputs are logits (rows, labels), predictions are label ids (rows,)."""

    name = "text-classification"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column("the text", "text"),
        "text_pair": Column("the second text, if rows are pairs of texts", is_required=False),
        "label": Column("the label, a name or a whole number", "label"),
    }
    default_metric = "accuracy"
    auto_model = "AutoModelForSequenceClassification"
    predicts = "labels"
    head_kind = "classification"
    head = "classifier"
    has_confidence = True
    usage = UsageCode(
        text="A text to classify.",
        show='print(json.load(open("config.json"))["id2label"][str(logits[0].argmax())])',
        show_in_transformers="print(model.config.id2label[int(model(**inputs).logits.argmax())])",
        imports=("import json",),
    )

    def read(self, plan: StudyPlan, id2label: Mapping[int, str] | None = None) -> TaskData:
        import numpy as np

        from autocompress.data import Table
        from autocompress.tasks._labels import label_ids
        from autocompress.tasks._text_rows import SplitLabels, read_text_rows

        def read_labels(tables: Mapping[str, Table], column: str) -> SplitLabels:
            labels = label_ids(tables, column, id2label, head_is_new=plan.teacher.fine_tune is not None)
            return SplitLabels(labels.names, labels.ids, np.array(self.missing_label, np.int64), rows_per_label=True)

        return read_text_rows(plan, self, read_labels, lambda labels: labels.values, header=None)

    def predict(self, outputs: Ragged, tokens: Tokens) -> np.ndarray:
        labels: np.ndarray = outputs.values.argmax(-1)
        return labels

    def draw_predictions(
        self, outputs: Ragged, teacher: Ragged, tokens: Tokens, draws: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | None:
        from autocompress.tasks._drawn_labels import draw_labels

        return draw_labels(outputs.values, teacher.values, tokens.labels.values, draws, rng)

    def confidence_drops(self, outputs: Ragged, teacher: Ragged, known: tuple[Ragged, Tokens]) -> np.ndarray | None:
        from autocompress.tasks._drawn_labels import confidence_drops

        return confidence_drops(outputs.values, teacher.values, known[0].values, known[1].labels.values)

    def is_right(self, predicted: np.ndarray, references: np.ndarray) -> np.ndarray | None:
        right: np.ndarray = predicted == references
        return right

    def facts(
        self, predicted: np.ndarray, expected: np.ndarray, references: np.ndarray, data: TaskData
    ) -> dict[str, object]:
        """Return the recall of each label, of the candidate and of the teacher."""
        right, teacher_right = predicted == references, expected == references
        recall = {
            name: (float(right[references == label].mean()), float(teacher_right[references == label].mean()))
            for label, name in enumerate(data.label_names)
            if (references == label).any()
        }
        return {"recall": recall}

    def has_head(self, architectures: Sequence[str], outputs: int) -> bool:
        """Return whether a model has a classifier of more than one label."""
        return super().has_head(architectures, outputs) and outputs > 1

    def recognize(self, values: Mapping[str, Sequence[object]], named: Mapping[str, str | None]) -> Recognition:
        """Claim data with a column of few different labels, unless they are numbers with a fraction."""
        from autocompress.tasks._recognition import guess_columns, holds_numbers

        columns = guess_columns(values, named)
        claim = 0.1 if holds_numbers(values[columns.label]) else 0.5
        return columns.recognition(claim, reason=f"the column {columns.label} holds labels")

    def describe_labels(self, values: Mapping[str, Sequence[object]], recognized: Recognition) -> LabelSummary:
        """Choose accuracy, or the Matthews correlation where a label is rare."""
        column = str(recognized.columns["label"])
        counts = Counter(map(str, values[column]))
        rarest = min(counts.values()) / counts.total()
        metric = "matthews_correlation" if rarest < RARE / max(1, len(counts) - 1) else "accuracy"
        return LabelSummary(
            description=f"label: {column}, with {len(counts)} values",
            metric=metric,
            reason=f"the rarest label has {100 * rarest:.2g} % of the rows, so the metric is {metric}",
            other_metrics=("accuracy", "f1", "matthews_correlation"),
        )

    def result_table(self, outputs: SplitOutputs) -> ResultTable | None:
        from autocompress.tasks._label_results import label_table

        return label_table(outputs)

    def example_table(self, outputs: SplitOutputs, most: int) -> ResultTable:
        from autocompress.tasks._label_results import disagreement_table

        return disagreement_table(outputs, most)


TASK = TextClassification()
