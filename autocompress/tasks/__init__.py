"""One file per task kind, under the names of transformers' pipelines (`text-classification` is text_classification.py).

A file exports `TASK`, an instance of `Task`: all that a search must know of what the model does. It imports neither torch nor
numpy, because reading a study file reads the tasks' declarations; hooks import inside their bodies.

Outputs and labels are arrays of *units*: one unit is a text, or a token where the output has an axis `sequence`. What a metric
compares has one entry per row, and rows are what intervals resample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.core.errors import UsageError, unknown
from autocompress.core.registry import Registry
from autocompress.core.task_columns import TaskDeclaration, task_names

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

    from autocompress.config import Recovery, StudyPlan
    from autocompress.data.ragged import Ragged

DEFAULT_TASK = "text-classification"  # of artifacts whose recipe.json names no task
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Rows:
    """One split as text."""

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None  # the second texts, if rows are pairs
    labels: Ragged

    def __len__(self) -> int:
        return len(self.texts)

    def contents(self) -> Iterator[tuple[object, ...]]:
        """Yield all that a row holds, as plain JSON types."""
        yield from zip(self.texts, self.pairs or (None,) * len(self), self.labels.values.tolist(), strict=True)

    def take(self, indices: np.ndarray) -> Rows:
        """Return some of the rows, in the order of `indices` (rows,)."""
        pairs = None if self.pairs is None else tuple(self.pairs[index] for index in indices)
        return Rows(tuple(self.texts[index] for index in indices), pairs, self.labels.take(indices))


@dataclass(frozen=True)
class TaskData:
    """The three splits and the unlabelled texts, checked; `fingerprint` is the sha256 of all of them."""

    train: Rows
    validation: Rows
    test: Rows
    unlabelled: Rows  # texts that the teacher labels; their labels are the task's `missing_label`
    label_names: tuple[str, ...]  # in the order of the model's outputs; empty where labels have no names
    fingerprint: str

    def split(self, name: str) -> Rows:
        """Return a split by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


@dataclass(frozen=True)
class Tokens:
    """One split as unpadded token ids with special tokens."""

    input_ids: tuple[np.ndarray, ...]  # each (tokens,) int64
    token_type_ids: tuple[np.ndarray, ...] | None  # each (tokens,) int64; null unless rows are pairs
    labels: Ragged

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each row."""
        return [len(ids) for ids in self.input_ids]


@dataclass(frozen=True)
class ModelInterface:
    """The inputs and the output of a model that is exported, and the class of transformers that loads it."""

    task: str
    auto_model: str
    has_pairs: bool  # whether texts come in pairs, which token types tell apart
    output: str  # name of the output
    axes: tuple[str, ...]  # of the output; `batch` and `sequence` have any size


class Objective(ABC):
    """What a model is trained for: losses of outputs (units, width), as `unit_outputs` returns them.

    A batch holds input_ids, attention_mask and `labels` (units,) (and token_type_ids).
    """

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean loss on the labels, for fine-tuning; NotImplementedError where there are no labels."""

    @abstractmethod
    def importance_loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return a sum over rows; its squared gradients rank heads and neurons.

        Tasks without labels use `random_projection`.
        """

    @abstractmethod
    def distillation_loss(
        self, outputs: Tensor, targets: Tensor, batch: Mapping[str, Tensor], settings: Recovery
    ) -> Tensor:
        """Return the mean loss against the teacher's outputs `targets` (units, width), and on the labels that are there."""

    @abstractmethod
    def divergence(self, outputs: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
        """Return how far outputs are from those of a reference, summed over units; 0 where they are equal."""

    def finish_fine_tuning(self, model: nn.Module) -> None:
        """Change a model in place after its fine-tuning, where the loss had other units than the data."""
        return  # most losses have none


class Task(TaskDeclaration, ABC):
    """One kind of task."""

    auto_model: ClassVar[str]  # the class of transformers that loads a model with its head
    predicts: ClassVar[str]  # what `predict` returns; a metric `reads` the same: labels, numbers, …
    missing_label: ClassVar[float]  # the label of a unit without one
    output: ClassVar[str] = "logits"
    axes: ClassVar[tuple[str, ...]] = ("batch", "labels")
    reads_words: ClassVar[bool] = False  # whether texts are lists of words, as if a space stood before each

    # ---- rows ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, plan: StudyPlan, id2label: Mapping[int, str] | None = None) -> TaskData:
        """Read the splits of a study, check them, cut absent splits from train, and sample.

        `id2label` is that of the model's config; null or LABEL_0 … if the model does not name its labels. Every wrong input
        is a UsageError that names its place.
        """

    def check_teacher(self, plan: StudyPlan, outputs: int) -> None:
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

    def missing_labels(self, lengths: Sequence[int], dtype: np.dtype[Any]) -> Ragged:
        """Return the labels of rows that have none, given their numbers of tokens."""
        import numpy as np

        from autocompress.data.ragged import Ragged

        counts = self.unit_counts(lengths)
        return Ragged(np.full(int(counts.sum()), self.missing_label, dtype), counts)

    def has_pairs(self, plan: StudyPlan) -> bool:
        """Whether the rows of a study are pairs of texts that the model reads at once."""
        return "text_pair" in self.columns and self.column(plan.task.columns, "text_pair") is not None

    # ---- the model -----------------------------------------------------------------------------------------------

    def interface(self, has_pairs: bool) -> ModelInterface:
        """Return the interface of a model of this task."""
        return ModelInterface(self.name, self.auto_model, has_pairs, self.output, self.axes)

    def head_options(self, data: TaskData) -> dict[str, Any]:
        """Return the settings of a model's config for a new head; a model is fine-tuned with them."""
        return {}

    def prepare_model(self, model: Any, source: str) -> None:
        """Complete the config of a model that was loaded from the folder or hub name `source`."""

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

    def draw_predictions(
        self, outputs: Ragged, teacher: Ragged, tokens: Tokens, draws: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Draw predictions (draws, rows, …) of a candidate and of its teacher with the same noise, for the soft drop.

        Null where the task has no lower-variance estimate of the drop.
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


TASKS = Registry("tasks", "TASK", Task)


def load_task(name: str, place: str = "") -> Task:
    """Load a task by its name in study files; an unknown name is a UsageError, and `place` begins its message."""
    if name not in task_names():
        raise unknown("task", name, task_names(), place)
    return TASKS.load(name.replace("-", "_"))


def unit_outputs(outputs: Tensor, attention_mask: Tensor) -> Tensor:
    """Return outputs (batch, width) unchanged, and those of tokens (batch, sequence, width) without padding, as units."""
    return outputs if outputs.ndim == 2 else outputs[attention_mask.bool()]


def random_projection(outputs: Tensor, seed: int = 0) -> Tensor:
    """Return the sum of the outputs (units, width), each times a random number.

    The expected square of its gradient is the mean squared gradient of all outputs: an importance that needs no labels.
    """
    import torch

    noise = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(seed))
    return (outputs.float() * noise).sum()


def untrained_head(source: str, kind: str) -> UsageError:
    """Return the error for a model without the trained head that a task needs."""
    return UsageError(
        f"teacher.model: {source!r} has no trained {kind} head; add `fine_tune: {{epochs: 3}}` under `teacher`"
    )
