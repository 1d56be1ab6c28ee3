"""The rows of a task as text and as token ids, and the inputs and output of its models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from autocompress.data.ragged import Ragged


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
    notes: tuple[str, ...] = ()  # sentences on rows that were left out

    def split(self, name: str) -> Rows:
        """Return a split by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


@dataclass(frozen=True)
class Tokens:
    """One split as unpadded token ids with special tokens."""

    input_ids: tuple[np.ndarray, ...]  # each (tokens,) int64
    token_type_ids: tuple[np.ndarray, ...] | None  # each (tokens,) int64; null unless rows are pairs
    labels: Ragged  # of each row; of each two rows where a label compares two texts

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


@dataclass(frozen=True)
class SplitOutputs:
    """The outputs of a model and of its teacher on one split."""

    rows: Rows
    tokens: Tokens  # of the rows; without token ids where outputs are those of texts
    label_names: tuple[str, ...]
    teacher: Ragged
    model: Ragged
