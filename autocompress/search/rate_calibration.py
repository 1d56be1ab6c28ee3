"""Measure the cost of training on this machine before the first trial, within seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from autocompress.config import Recovery
from autocompress.data.ragged import Ragged
from autocompress.models.candidate import Candidate
from autocompress.models.importance import Importance
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_provider import TeacherProvider
from autocompress.space.space import Space
from autocompress.training import distillation, supernet

STEPS = 10  # that are timed
LABELLED_ROWS = 256


class RateCalibration:
    """Times a few steps of each kind of training. The time of a step does not depend on the values of its targets."""

    def __init__(self, data: StudyData, teacher: TeacherProvider, recovery: Recovery, seed: int) -> None:
        self._data, self._teacher, self._recovery, self._seed = data, teacher, recovery, seed
        self._lengths = data.lengths("train")

    def label_seconds(self) -> float:
        """Return the seconds in which the teacher computes its outputs on one row."""
        rows = self._data.shuffled(len(self._lengths))[:LABELLED_ROWS]
        lengths = [self._lengths[row] for row in rows]
        start = time.perf_counter()
        distillation.compute_targets(
            self._teacher.forward, lambda part: self._data.batch(rows[part]), lengths, lambda fraction: None
        )
        return (time.perf_counter() - start) / len(rows)

    def supernet_step_seconds(self, importance: Importance, space: Space) -> float:
        """Return the seconds of one step of the super-net's training."""
        net = supernet.SuperNet(self._teacher.model, self._teacher.family, importance)

        def train(epochs: float) -> None:
            supernet.train_supernet(
                net, space.smallest_subnet(), space.draw_subnet, self._no_targets(), self._data.batch, self._lengths,
                self._recovery, epochs=epochs, seed=self._seed, objective=self._data.objective,
            )  # fmt: skip

        return self._seconds_per_step(train)

    def candidate_step_seconds(self, candidate: Candidate) -> float:
        """Return the seconds of one step of a candidate's training."""

        def train(epochs: float) -> None:
            distillation.distil(
                candidate, self._no_targets(), self._data.batch, self._lengths, len(self._lengths), self._recovery,
                self._seed, epochs=epochs, objective=self._data.objective,
            )  # fmt: skip

        return self._seconds_per_step(train)

    def _seconds_per_step(self, train: Callable[[float], None]) -> float:
        epochs_per_step = self._recovery.batch / len(self._lengths)
        train(2 * epochs_per_step)  # warm-up
        start = time.perf_counter()
        train(STEPS * epochs_per_step)
        return (time.perf_counter() - start) / STEPS

    def _no_targets(self) -> distillation.Targets:
        """Return targets of the right shapes, all zero."""
        first = self._data.batch(np.arange(1))
        width = self._teacher.forward.run_batch(first).logits.shape[-1]
        counts = self._data.task.unit_counts(self._lengths)
        shape = (len(self._lengths), self._teacher.layer_count, 2, self._teacher.model.config.hidden_size)
        hidden = np.broadcast_to(np.zeros(1, np.float16), shape)
        return distillation.Targets(Ragged(np.zeros((counts.sum(), width), np.float32), counts), hidden)
