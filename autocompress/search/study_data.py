"""The rows of a study as text, token ids and batches, and the rows that candidates are distilled on."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from autocompress.config import Recovery, StudyPlan
from autocompress.data.augmentation import Specials, are_single_texts, augment
from autocompress.data.near_duplicates import near_duplicates
from autocompress.data.ragged import Ragged
from autocompress.data.written_texts import write_texts
from autocompress.models.model_config import read_config
from autocompress.models.teacher import load_tokenizer
from autocompress.tasks import SPLITS, ModelInterface, Objective, Rows, Task, TaskData, Tokens, load_task
from autocompress.training.loop import ordered_batches

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

RANGE_ROWS = 128  # that an artifact's activation ranges are taken from
FITTING_ROWS, FITTING_TOKENS = 1500, 25_000  # at most; more cost seconds and memory, and fit no better
log = logging.getLogger(__name__)


class StudyData:
    """The splits of a study, read and tokenized when they are first needed."""

    def __init__(self, plan: StudyPlan, offline: bool) -> None:
        self._plan, self._offline = plan, offline
        self.task: Task = load_task(plan.task.kind, plan.place("task.kind"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The teacher's tokenizer."""
        return load_tokenizer(self._plan.teacher.model, self._offline, self.task.reads_words)

    @cached_property
    def splits(self) -> TaskData:
        """The checked splits and unlabelled texts, as text."""
        config = read_config(self._plan.teacher.model, self._plan.place("teacher.model"), self._offline)
        return self.task.read(self._plan, config.id2label)

    @cached_property
    def tokens(self) -> dict[str, Tokens]:
        """Split (parts of the agreement rows, too) -> its rows as token ids. From then on the tokenizer cuts texts at
        `max_tokens`."""
        splits = self.splits
        return {split: self.tokenize(splits.split(split)) for split in (*SPLITS, *splits.agreement_parts)}

    @cached_property
    def objective(self) -> Objective:
        """What models are trained for."""
        return self.task.objective(self.splits)

    @property
    def interface(self) -> ModelInterface:
        """The inputs and the output of exported models."""
        return self.task.interface(self.task.has_pairs(self._plan.task.columns))

    def lengths(self, split: str) -> list[int]:
        """Return the number of tokens of each row of a split."""
        return self.tokens[split].lengths

    def arrays(self, split: str, rows: np.ndarray, multiple: int = 1) -> dict[str, np.ndarray]:
        """Return the model's inputs for some rows of a split, padded to the longest."""
        return self.pad(self.tokens[split], rows, multiple)

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return a batch of training rows: inputs and labels."""
        return self.training_batch(self.tokens["train"], rows)

    def calibration_inputs(self) -> list[dict[str, np.ndarray]]:
        """Return the inputs of some training rows, one row each, from which activation ranges are taken."""
        rows = self.shuffled(len(self.tokens["train"]))[:RANGE_ROWS]
        return [self.arrays("train", rows[index : index + 1]) for index in range(len(rows))]

    def pad(self, tokens: Tokens, rows: np.ndarray, multiple: int) -> dict[str, np.ndarray]:
        """Return the model's inputs for some tokenized rows."""
        return self.task.pad(tokens, rows, self.tokenizer.pad_token_id or 0, multiple)

    def training_batch(self, tokens: Tokens, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return inputs and labels of some tokenized rows as tensors; labels are (units, …)."""
        arrays = self.pad(tokens, rows, multiple=8) | {"labels": tokens.labels.take(rows).values}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def shuffled(self, count: int) -> np.ndarray:
        """Return the numbers 0 … count − 1 in an order that the study's seed draws."""
        return np.random.default_rng(self._plan.seed).permutation(count)

    def augmented(self, recovery: Recovery) -> Tokens:
        """Return the training rows and, without labels, the unlabelled texts and the copies that the settings ask for."""
        train, more_texts = self.tokens["train"], self.tokenize(self.splits.unlabelled)
        ids, types = (*train.input_ids, *more_texts.input_ids), None
        if train.token_type_ids is not None:
            types = (*train.token_type_ids, *(more_texts.token_type_ids or ()))
        copied_ids, copied_types = self._copies(ids, types, recovery.copies * len(train), recovery.copy_kind)
        unlabelled = [len(row) for row in (*more_texts.input_ids, *copied_ids)]
        labels = train.labels.values
        missing = self.task.missing_labels(unlabelled, labels.dtype, labels.shape[1:])
        return Tokens(
            (*ids, *copied_ids),
            None if types is None or copied_types is None else (*types, *copied_types),
            Ragged.join((train.labels, missing)),
        )

    def _copies(
        self, ids: Sequence[np.ndarray], types: Sequence[np.ndarray] | None, count: int, kind: str | None
    ) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
        """Return the token ids and types of copies; no written one is nearly a row that models are judged on."""
        specials, seed = (
            Specials(frozenset(self.tokenizer.all_special_ids), self.tokenizer.mask_token_id),
            self._plan.seed,
        )
        if kind != "written" or not count or not are_single_texts(ids, types, specials):
            return augment(ids, types, count, specials, seed)
        written = write_texts(ids, count, seed)
        judged = [row for split, tokens in self.tokens.items() if split != "train" for row in tokens.input_ids]
        is_near = near_duplicates(written, judged)
        log.info("written texts: %d, and %d left out as near duplicates of rows that models are judged on",
                 len(written) - is_near.sum(), is_near.sum())  # fmt: skip
        return [text for text, near in zip(written, is_near, strict=True) if not near], None

    @property
    def max_tokens(self) -> int:
        """The longest row, in tokens."""
        return self._plan.task.max_tokens

    def recut(self, tokens: Tokens) -> Tokens:
        """Return rows without labels, which the teacher's tokenizer has cut, as this tokenizer cuts them."""
        return tokens

    def tokenize(self, rows: Rows) -> Tokens:
        """Return the token ids of rows of text."""
        return self.task.tokenize(rows, self.tokenizer, self._plan.task.max_tokens)


class DistillationSet:
    """The rows that candidates learn from: training rows, unlabelled texts, and copies of both, or some of these."""

    def __init__(self, data: StudyData, recovery: Recovery) -> None:
        self._data, self.tokens = data, data.augmented(recovery)
        if recovery.distilled_rows is not None:
            self.tokens = self.tokens.take(np.sort(data.shuffled(len(self.tokens))[: recovery.distilled_rows]))
        self.lengths = self.tokens.lengths

    def with_added(self, added: Sequence[Tokens]) -> DistillationSet:
        """Return a set in which more rows, as the teacher's tokenizer has cut them, follow these."""
        more = copy.copy(self)
        more.tokens = Tokens.join([self.tokens, *map(self._data.recut, added)])
        more.lengths = more.tokens.lengths
        return more

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return a batch: inputs, and labels where a row has one."""
        return self._data.training_batch(self.tokens, rows)

    def fitting_batches(self) -> list[np.ndarray]:
        """Return the numbers of some rows, in batches, on which a candidate's matrices are fitted and compared."""
        lengths = np.asarray(self.lengths)
        chosen = self._data.shuffled(len(lengths))[:FITTING_ROWS]
        within = int(np.searchsorted(np.cumsum(lengths[chosen]), FITTING_TOKENS, side="right"))
        chosen = chosen[: max(1, within)]
        return [chosen[part] for part in ordered_batches(list(lengths[chosen]), 64)]
