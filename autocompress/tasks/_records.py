"""The rows of a task as text and as token ids, and the inputs and output of its models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autocompress.core.agreement import AGREEMENT, part_bounds

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

    def text_keys(self) -> list[str]:
        """Return a key per row; rows are equal if their texts are, apart from case and spacing."""
        texts = self.texts if self.pairs is None else [f"{a}\0{b}" for a, b in zip(self.texts, self.pairs, strict=True)]
        return [" ".join(text.casefold().split()) for text in texts]

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
    agreement: Rows | None = None  # no model learns from them; in random order
    has_agreement_labels: bool = False

    @property
    def agreement_parts(self) -> tuple[str, ...]:
        """The parts of the agreement rows as names of splits; candidates are compared on the first ones first."""
        count = 0 if self.agreement is None else len(self.agreement)
        return tuple(f"{AGREEMENT}-{number}" for number in range(len(part_bounds(count))))

    def split(self, name: str) -> Rows:
        """Return a split, or a part of the agreement rows, by name."""
        if self.agreement is not None and name in self.agreement_parts:
            import numpy as np

            start, end = part_bounds(len(self.agreement))[self.agreement_parts.index(name)]
            return self.agreement.take(np.arange(start, end))
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

    def take(self, indices: np.ndarray) -> Tokens:
        """Return some of the rows, each with a label of its own, in the order of `indices` (rows,)."""
        types = None if self.token_type_ids is None else tuple(self.token_type_ids[index] for index in indices)
        return Tokens(tuple(self.input_ids[index] for index in indices), types, self.labels.take(indices))

    @classmethod
    def join(cls, parts: Sequence[Tokens]) -> Tokens:
        """Return the rows of several parts of one kind, one part after the other."""
        from autocompress.data.ragged import Ragged

        ids = tuple(row for part in parts for row in part.input_ids)
        types = None
        if parts[0].token_type_ids is not None:
            types = tuple(row for part in parts for row in part.token_type_ids or ())
        return cls(ids, types, Ragged.join([part.labels for part in parts]))


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
