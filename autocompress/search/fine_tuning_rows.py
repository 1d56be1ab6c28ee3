"""The rows of a teacher's fine-tuning: all of train, those that settings learn and are judged on, those of a linear probe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from autocompress.data import cut_rows, sample_rows
from autocompress.search.fine_tuning_length import stop_rows
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_evaluation import JudgedRows
from autocompress.tasks import Rows, TaskData, Tokens
from autocompress.training.fine_tuning import LabelledRows


@dataclass(frozen=True)
class FineTuningRows:
    """The rows of train, cut by a seed: the same ones for every setting, and none of validation."""

    data: StudyData
    metric: str
    seed: int

    @property
    def all(self) -> LabelledRows:
        """All rows, which the chosen setting learns."""
        return self._labelled(self.data.tokens["train"])

    @cached_property
    def learned(self) -> LabelledRows:
        """The rows that settings are compared on learning."""
        return self._labelled(self.data.tokenize(self._take(~self._is_judged)))

    @cached_property
    def judged(self) -> JudgedRows:
        """The rows that settings are judged on."""
        return JudgedRows(self.data, self.metric, self.data.tokenize(self._take(self._is_judged)))

    def probed(self, count: int) -> LabelledRows:
        """Return so many rows to fit a linear probe to, none of those that settings are judged on, stratified by label."""
        rows = self._take(~self._is_judged)
        chosen = sample_rows(rows.labels.values, count, self.seed, "sample for a linear probe")
        return self._labelled(self.data.tokenize(rows.take(chosen)))

    @cached_property
    def _is_judged(self) -> np.ndarray:
        """Which rows settings are judged on, (rows,)."""
        rows = self.data.splits.train
        labels = rows.labels.values
        is_class = rows.labels.has_single_units and np.issubdtype(labels.dtype, np.integer)
        strata = labels if is_class else np.zeros(len(rows), np.int64)
        keys = [json.dumps(content[:-1]).casefold() for content in rows.contents()]
        return cut_rows(keys, strata, stop_rows(len(rows)), self.seed, "cut rows to judge settings on")

    def _take(self, mask: np.ndarray) -> Rows:
        return self.data.splits.train.take(np.flatnonzero(mask))

    def _labelled(self, tokens: Tokens) -> LabelledRows:
        return LabelledRows(partial(self.data.training_batch, tokens), tokens.lengths)


def count_labels(data: TaskData) -> list[int]:
    """Return how often each label stands in train; empty where labels are numbers."""
    labels = data.train.labels.values
    return (
        np.bincount(labels[labels >= 0].ravel(), minlength=len(data.label_names)).tolist() if data.label_names else []
    )
