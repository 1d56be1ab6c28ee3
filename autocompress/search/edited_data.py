"""The rows of a study as a candidate with its own tokenizer reads them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from autocompress.config import Recovery, StudyPlan
from autocompress.core.scalar import Scalar
from autocompress.search.study_data import StudyData
from autocompress.tasks import Rows, TaskData, Tokens
from autocompress.techniques.stages import DataTechnique

Edits = Sequence[tuple[DataTechnique, Scalar]]  # in the order of application


class EditedData(StudyData):
    """The same texts as `original`, cut by a tokenizer that decisions about data edited. Row i is row i of `original`."""

    def __init__(self, plan: StudyPlan, original: StudyData, edits: Edits) -> None:
        self._plan, self._original, self._edits = plan, original, tuple(edits)
        self.task = original.task

    @cached_property
    def tokenizer(self) -> Any:
        """A copy of the teacher's tokenizer, edited. Like that one it cuts texts at `max_tokens`.

        Its class is the general one, which reads tokenizer.json as it is; others would set up the normalizer anew.
        """
        from transformers import PreTrainedTokenizerFast

        self._original.tokens  # noqa: B018  # from then on the original cuts texts
        original = self._original.tokenizer
        tokenizer = copy.deepcopy(original.backend_tokenizer)
        for technique, value in self._edits:
            technique.edit_tokenizer(tokenizer, value)
        return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
            tokenizer_object=tokenizer,
            model_max_length=original.model_max_length,
            model_input_names=list(original.model_input_names),
            padding_side=original.padding_side,
            truncation_side=original.truncation_side,
            **original.special_tokens_map,
        )

    @property
    def splits(self) -> TaskData:
        """The splits as text."""
        return self._original.splits

    def augmented(self, recovery: Recovery) -> Tokens:
        """Return the rows of `original.augmented`, cut anew; augmented copies, which have no text, are decoded first."""
        original = self._original.augmented(recovery)
        texts = len(self.splits.train) + len(self.splits.unlabelled)
        copied = self.tokenize(self._decode(original.input_ids[texts:]))
        return Tokens.join([self.tokens["train"], self.tokenize(self.splits.unlabelled), copied])

    def recut(self, tokens: Tokens) -> Tokens:
        """Return rows that the teacher's tokenizer has cut, decoded and cut anew."""
        return self.tokenize(self._decode(tokens.input_ids))

    def _decode(self, rows: Sequence[np.ndarray]) -> Rows:
        """Return rows of token ids of the teacher as rows of text. A mask token becomes its name, which is encoded again."""
        tokenizer = self._original.tokenizer
        separators = [tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id]
        segments = [[str(tokenizer.decode(part)) for part in _split(row, separators)] for row in rows]
        train, lengths = self.splits.train, [len(row) for row in rows]
        labels = train.labels.values
        return replace(
            train,
            texts=tuple(parts[0] if parts else "" for parts in segments),
            pairs=None if train.pairs is None else tuple(parts[1] if len(parts) > 1 else "" for parts in segments),
            labels=self.task.missing_labels(lengths, labels.dtype, labels.shape[1:]),
        )


def _split(row: np.ndarray, separators: Sequence[int | None]) -> list[np.ndarray]:
    """Return the parts of a row between separators, without empty ones."""
    is_separator = np.isin(row, [token for token in separators if token is not None])
    starts = np.flatnonzero(~is_separator & np.concatenate(([True], is_separator[:-1])))
    ends = np.flatnonzero(~is_separator & np.concatenate((is_separator[1:], [True]))) + 1
    return [row[start:end] for start, end in zip(starts, ends, strict=True)]
