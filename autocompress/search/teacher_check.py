"""Check whether the teacher is worth compressing: a drop against a badly trained teacher says nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autocompress.config import StudyPlan
from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.core.formatting import counted
from autocompress.core.teacher_warning import TeacherWarning, describe_remedy
from autocompress.data.ragged import Ragged
from autocompress.metrics import Metric
from autocompress.search.baselines import learned_rows, predict_from_embeddings, predict_from_words, probed_rows
from autocompress.search.fine_tuning_length import FINE_TUNING_SHARE, effective_labels, minutes_of_search
from autocompress.search.fine_tuning_rows import count_labels
from autocompress.search.study_data import StudyData
from autocompress.search.text_embeddings import embed_texts
from autocompress.tasks import Rows

LEAST_ROWS = 5  # of validation with a label that the teacher never predicts, for a warning
STILL_IMPROVING = 0.01  # quality gained in the last quarter of a fine-tuning
SHOWN_LABELS = 5
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeacherCheck:
    """The checks of one fine-tuned teacher; `outputs` are those of its artifact on validation."""

    plan: StudyPlan
    data: StudyData
    outputs: Ragged
    metric: Metric
    record: FineTuningRecord | None
    offline: bool

    def run(self) -> tuple[TeacherWarning, ...]:
        """Return what is wrong, the most telling first. Baselines are known for tasks with one label of each text."""
        findings = [*self._beaten_by(), *self._missing_labels(), *self._still_improving()]
        if not findings:
            return ()
        remedy, minutes = self._remedy()
        return tuple(TeacherWarning(finding=finding, remedy=remedy, minutes=minutes) for finding in findings)

    # ---- findings --------------------------------------------------------------------------------------------------

    def _beaten_by(self) -> list[str]:
        """Return the baselines that are better on validation than the teacher."""
        if not self._has_labels:
            return []
        train, truth = self.data.splits.train, self._labels
        train = train.take(learned_rows(train.labels.values, self.plan.seed))
        teacher = self._score(self._predicted)
        by_words, features = predict_from_words(train, self.data.splits.validation)
        baselines = {
            f"logistic regression on {features} (TF-IDF)": by_words,
            "a linear probe on the model's embeddings before fine-tuning": self._predict_by_probe(train),
        }
        scores = {name: self._score(predicted) for name, predicted in baselines.items() if predicted is not None}
        log.info("baselines on %d rows of validation: %s; the teacher: %.4f", len(truth), scores, teacher)
        return [
            f"{name} reaches {100 * score:.1f} on validation, the teacher only {100 * teacher:.1f}"
            for name, score in scores.items()
            if score > teacher
        ]

    def _predict_by_probe(self, train: Rows) -> np.ndarray | None:
        """Return what a linear probe predicts; null for a family whose embeddings are not known."""
        lengths = [len(text) // 4 + 2 for text in train.texts]  # in tokens, roughly
        some = train.take(probed_rows(lengths, np.arange(len(train)), self.plan.seed))
        if len(np.unique(some.labels.values)) < len(np.unique(train.labels.values)):
            return None  # too few rows to learn every label
        known, asked = (self._embed(rows) for rows in (some, self.data.splits.validation))
        return predict_from_embeddings(known, some.labels.values, asked)

    def _embed(self, rows: Rows) -> np.ndarray:
        """Return the embeddings (rows, width); of a pair, those of both texts, their distance and their product."""
        sides = [
            embed_texts(self.plan, self.data, texts, self.offline, exact=False)
            for texts in (rows.texts, rows.pairs)
            if texts is not None
        ]
        if len(sides) == 1:
            return sides[0]
        first, second = sides
        return np.concatenate((first, second, np.abs(first - second), first * second), axis=1)

    def _missing_labels(self) -> list[str]:
        """Return a finding where the teacher never predicts labels that validation has."""
        if not self._has_labels:
            return []
        names, counts = (
            self.data.splits.label_names,
            np.bincount(self._labels, minlength=len(self.data.splits.label_names)),
        )
        never = np.setdiff1d(np.flatnonzero(counts >= LEAST_ROWS), self._predicted)
        if not len(never):
            return []
        shown = ", ".join(names[label] for label in never[:SHOWN_LABELS]) + (", …" if len(never) > SHOWN_LABELS else "")
        rows = int(counts[never].sum())
        return [
            f"the teacher never predicts {counted(len(never), 'label')} ({shown}), which {rows:,} validation rows have"
        ]

    def _still_improving(self) -> list[str]:
        """Return a finding where the quality on validation rose in the last quarter of the fine-tuning."""
        qualities = [point["quality"] for point in self.record.curve] if self.record is not None else []
        if len(qualities) < 2 or qualities[-1] - max(qualities[:-1]) < STILL_IMPROVING:
            return []
        return [
            f"the teacher was still improving when its fine-tuning ended: {100 * max(qualities[:-1]):.1f} after three quarters,"
            f" {100 * qualities[-1]:.1f} at the end"
        ]

    # ---- remedy ----------------------------------------------------------------------------------------------------

    def _remedy(self) -> tuple[str, float | None]:
        """Return how to get a better teacher, and how many minutes it takes."""
        settings = self.plan.teacher.fine_tune
        remedy, minutes = describe_remedy(self.plan.study, None if settings is None else settings.model_dump())
        if minutes is not None or self.record is None or self.record.trials:
            return remedy, minutes
        most = None if self.plan.budget.time is None else FINE_TUNING_SHARE * self.plan.budget.time
        labels = effective_labels(count_labels(self.data.splits))
        return remedy, minutes_of_search(len(self.data.splits.train), labels, self.record.seconds_per_row, most)

    # ---- predictions -----------------------------------------------------------------------------------------------

    @property
    def _has_labels(self) -> bool:
        """Whether each text has one label."""
        return self.data.task.predicts == "labels" and self.data.splits.train.labels.has_single_units

    @property
    def _labels(self) -> np.ndarray:
        labels: np.ndarray = self.data.splits.validation.labels.values
        return labels

    @cached_property
    def _predicted(self) -> np.ndarray:
        return self.data.task.predict(self.outputs, self.data.tokens["validation"])

    def _score(self, predicted: np.ndarray) -> float:
        return self.metric.quality_factor * self.metric.compute(predicted, self._labels)
