"""One file per task kind, under the names of transformers' pipelines (`text-classification` is text_classification.py).

A file exports `TASK`, an instance of `Task`: all that a search must know of what the model does. It imports neither torch nor
numpy, because reading a study file reads the tasks' declarations; hooks import inside their bodies.

Outputs and labels are arrays of *units*: one unit is a text, or a token where the output has an axis `sequence`. What a metric
compares has one entry per row, and rows are what intervals resample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.core.errors import UsageError, unknown
from autocompress.core.registry import Registry
from autocompress.core.task_columns import DEFAULT_TASK, TaskDeclaration, task_names
from autocompress.tasks._objective import Objective, random_projection, unit_outputs
from autocompress.tasks._records import ModelInterface, Rows, SplitOutputs, TaskData, Tokens
from autocompress.tasks._views import LabelSummary, Recognition, ResultTable, UsageCode

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

    from autocompress.config import StudyPlan
    from autocompress.data.ragged import Ragged

__all__ = [
    "DEFAULT_TASK",
    "SPLITS",
    "TASKS",
    "LabelSummary",
    "ModelInterface",
    "Objective",
    "Recognition",
    "ResultTable",
    "Rows",
    "SplitOutputs",
    "Task",
    "TaskData",
    "Tokens",
    "UsageCode",
    "load_task",
    "random_projection",
    "unit_outputs",
    "untrained_head",
]
SPLITS = ("train", "validation", "test")


class Task(TaskDeclaration, ABC):
    """One kind of task."""

    auto_model: ClassVar[str]  # the class of transformers that loads a model with its head
    predicts: ClassVar[str]  # what `predict` returns; a metric `reads` the same: labels, numbers, …
    missing_label: ClassVar[float]  # the label of a unit without one
    head: ClassVar[str]  # the name of the model's head, in sentences
    usage: ClassVar[UsageCode]
    difference: ClassVar[str] = "another label"  # what `disagreement` counts, in the words of a caption
    output: ClassVar[str] = "logits"
    axes: ClassVar[tuple[str, ...]] = ("batch", "labels")
    model_files: ClassVar[tuple[str, ...]] = ()  # patterns of files of a model's folder that only this task reads
    has_confidence: ClassVar[bool] = False  # whether `confidence_drops` are known, so that agreement rows are kept
    reads_words: ClassVar[bool] = False  # whether texts are lists of words, as if a space stood before each

    # ---- rows ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, plan: StudyPlan, id2label: Mapping[int, str] | None = None) -> TaskData:
        """Read the splits of a study, check them, cut absent splits from train, and sample.

        `id2label` is that of the model's config; null or LABEL_0 … if the model does not name its labels. Every wrong input
        is a UsageError that names its place.
        """

    def check_teacher(self, plan: StudyPlan, outputs: int, offline: bool = False) -> None:
        """Raise UsageError where a model whose config tells of so many `outputs` cannot be the teacher."""

    def tokenize(self, rows: Rows, tokenizer: PreTrainedTokenizerFast, max_tokens: int, batch: int = 1000) -> Tokens:
        """Return the token ids of every row, truncated to `max_tokens` (with special tokens)."""
        from autocompress.tasks import _tokens

        return _tokens.tokenize(rows, tokenizer, max_tokens, batch)

    def pad(
        self, tokens: Tokens, indices: Sequence[int] | np.ndarray, pad_id: int, multiple: int = 1
    ) -> dict[str, np.ndarray]:
        """Return the model inputs of some rows, each (batch, length) int64, padded on the right to a `multiple`."""
        from autocompress.tasks import _tokens

        return _tokens.pad(tokens, indices, pad_id, multiple)

    @property
    def has_token_outputs(self) -> bool:
        """Whether a unit is a token, and not a text."""
        return "sequence" in self.axes

    def unit_counts(self, lengths: Sequence[int]) -> np.ndarray:
        """Return the units (rows,) of rows with so many tokens."""
        import numpy as np

        return np.asarray(lengths, np.int64) if self.has_token_outputs else np.ones(len(lengths), np.int64)

    def missing_labels(self, lengths: Sequence[int], dtype: np.dtype[Any], shape: tuple[int, ...] = ()) -> Ragged:
        """Return the labels of rows that have none, given their numbers of tokens; `shape` is that of one unit's label."""
        import numpy as np

        from autocompress.data.ragged import Ragged

        counts = self.unit_counts(lengths)
        return Ragged(np.full((int(counts.sum()), *shape), self.missing_label, dtype), counts)

    def has_pairs(self, columns: Mapping[str, str | None]) -> bool:
        """Whether the rows of a study, given its `task.columns`, are pairs of texts that the model reads at once."""
        return "text_pair" in self.columns and self.column(columns, "text_pair") is not None

    def count_inputs(self, rows: Rows) -> int:
        """Return how many texts (or pairs) the model reads one by one to predict some rows."""
        return len(rows)

    # ---- the model -----------------------------------------------------------------------------------------------

    def interface(self, has_pairs: bool) -> ModelInterface:
        """Return the interface of a model of this task."""
        return ModelInterface(self.name, self.auto_model, has_pairs, self.output, self.axes)

    def head_options(self, data: TaskData) -> dict[str, Any]:
        """Return the settings of a model's config for a new head; a model is fine-tuned with them."""
        return {}

    def prepare_model(self, model: Any, source: str, offline: bool = False) -> None:
        """Complete a model that was loaded from the folder or hub name `source`: settings that its config lacks."""

    @abstractmethod
    def check_head(self, source: str, config: PretrainedConfig, data: TaskData, is_untrained: bool) -> None:
        """Raise UsageError where the head of the model `source` does not fit the data.

        `is_untrained`: some weights were missing, and the model will not be fine-tuned.
        """

    @abstractmethod
    def objective(self, data: TaskData) -> Objective:
        """Return the losses for a study's rows."""

    # ---- outputs -------------------------------------------------------------------------------------------------

    @abstractmethod
    def predict(self, outputs: Ragged, tokens: Tokens) -> np.ndarray:
        """Return the predictions (rows, …) of a split from a model's outputs (units, width)."""

    def references(self, tokens: Tokens, teacher: Ragged) -> np.ndarray:
        """Return what predictions are compared with, (rows, …): the labels, or what the teacher's outputs give."""
        return tokens.labels.values

    def is_judged_by_teacher(self, tokens: Tokens) -> bool:
        """Whether the references of a split come from the teacher's outputs, because it has no labels."""
        return False

    def draw_predictions(
        self, outputs: Ragged, teacher: Ragged, tokens: Tokens, draws: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Draw predictions (draws, rows, …) of a candidate and of its teacher with the same noise, for the soft drop.

        Null where the task has no lower-variance estimate of the drop.
        """
        return None

    def confidence_drops(self, outputs: Ragged, teacher: Ragged, known: tuple[Ragged, Tokens]) -> np.ndarray | None:
        """Return the drop of each row (rows,) that the teacher's own probabilities let expect; null where it has none.

        `known`: the teacher's outputs on rows with labels, which calibrate its probabilities.
        """
        return None

    @abstractmethod
    def disagreement(self, predicted: np.ndarray, expected: np.ndarray) -> float:
        """Return the fraction of rows on which two models' predictions differ."""

    def is_right(self, predicted: np.ndarray, references: np.ndarray) -> np.ndarray | None:
        """Return which rows (rows,) are predicted right; null where predictions are more or less wrong."""
        return None

    def facts(
        self, predicted: np.ndarray, expected: np.ndarray, references: np.ndarray, data: TaskData
    ) -> dict[str, object]:
        """Return facts of a trial as plain JSON types: what a candidate and the teacher predict of the validation rows."""
        return {}

    @abstractmethod
    def count_changes(self, outputs: np.ndarray, recorded: np.ndarray) -> int:
        """Return how many rows (batch, …) of outputs give another prediction than those that were recorded."""

    # ---- for people ----------------------------------------------------------------------------------------------

    def has_head(self, architectures: Sequence[str], outputs: int) -> bool:
        """Return whether a model does the task already, by the classes and the number of outputs that its config names."""
        return any(name.endswith(self.auto_model.removeprefix("AutoModel") or "Model") for name in architectures)

    def suits_model(self, source: str, architectures: Sequence[str]) -> float:
        """Return by what to multiply the claim to data where the model is `source`, a folder or hub name."""
        return 1.0

    @abstractmethod
    def recognize(self, values: Mapping[str, Sequence[object]], named: Mapping[str, str | None]) -> Recognition:
        """Return how well columns suit the task, and their roles; UsageError where a role has no column.

        `values` are the columns of train; `named` maps text, pair and label to the column that the user named, or to null.
        """

    @abstractmethod
    def describe_labels(self, values: Mapping[str, Sequence[object]], recognized: Recognition) -> LabelSummary:
        """Describe the labels of train, whose columns are `values`, and choose a metric."""

    def result_table(self, outputs: SplitOutputs) -> ResultTable | None:
        """Return the results of a report, e.g. by label; null where the task has no such table."""
        return None

    @abstractmethod
    def example_table(self, outputs: SplitOutputs, most: int) -> ResultTable:
        """Return up to `most` rows, with their texts, that the model predicts otherwise than the teacher."""


TASKS = Registry("tasks", "TASK", Task)


def load_task(name: str, place: str = "") -> Task:
    """Load a task by its name in study files; an unknown name is a UsageError, and `place` begins its message."""
    if name not in task_names():
        raise unknown("task", name, task_names(), place)
    return TASKS.load(name.replace("-", "_"))


def untrained_head(source: str, kind: str) -> UsageError:
    """Return the error for a model without the trained head that a task needs."""
    return UsageError(f"teacher.model: {source!r} has no trained {kind} head; add `fine_tune: auto` under `teacher`")
