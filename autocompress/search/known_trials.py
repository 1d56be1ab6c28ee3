"""The rows of a study in the supervisor's memory: reading thousands of them again for each trial would take longer than the
smallest trials do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autocompress.config import LAST_RUNG
from autocompress.core.trial_row import TrialRow
from autocompress.selection import (
    Promotion,
    Prospect,
    Reference,
    Rungs,
    beyond_trained,
    hypervolume,
    on_front,
    prospects,
)
from autocompress.study import StudyView

SAME_LATENCY = 1e-9  # relative difference that rounding makes


@dataclass
class KnownTrials:
    """The rows of a study, kept up to date with what its supervisor records."""

    objectives: tuple[str, ...]
    constraints: Mapping[str, float | None]
    reference: Reference | None
    rows: dict[int, TrialRow] = field(default_factory=dict)
    examples: int | None = None  # rows of validation
    reuse: bool = True  # whether one training serves all recipes with the same weights
    seconds: list[float] = field(default_factory=lambda: [0.0] * (LAST_RUNG + 1))  # of the trainings of each rung
    untrained: int = 0  # trials that ended at rung 0
    _trained: set[tuple[str, int]] = field(default_factory=set)  # key of trained weights, rung
    _front: frozenset[int] = frozenset()
    _rungs: Rungs | None = field(init=False)

    def __post_init__(self) -> None:
        self._rungs = Rungs(self.reference, self.constraints) if self.reference else None

    @classmethod
    def of(cls, view: StudyView, reuse: bool = True) -> KnownTrials:
        """Return the trials of a stored study."""
        known = cls(view.objectives, view.constraints, view.reference, examples=view.examples, reuse=reuse)
        for row in view.rows:
            known.add(row)
        return known

    def add(self, row: TrialRow) -> None:
        """Add or replace the row of a trial that began or ended."""
        self.rows[row.trial] = row
        if row.latency_ms and row.speedup and row.trial and 0 in self.rows:
            self._use_teacher_latency(row.latency_ms * row.speedup)
        if self._rungs is not None:
            self._rungs.add(row)
        self.untrained += row.rung == 0 and row.state != "running"
        if row.rung is not None and row.state != "running" and self._has_new_weights(row, row.rung):
            self.seconds[row.rung] += row.seconds or 0.0
        if row.state == "complete":  # a dominated row stays so: only the front and the new row matter
            candidates = [self.rows[trial] for trial in {0, row.trial} | self._front if trial in self.rows]
            self._front = frozenset(on_front(candidates, self.objectives, self.constraints))

    def _use_teacher_latency(self, latency_ms: float) -> None:
        """Scale all speedups where the teacher's latency is known better than before."""
        factor = latency_ms / (self.teacher.latency_ms or latency_ms)
        if abs(factor - 1) < SAME_LATENCY:
            return
        self.rows[0] = replace(self.rows[0], latency_ms=latency_ms)
        for trial, row in self.rows.items():
            if trial and row.speedup and row.latency_ms:
                interval = row.speedup_interval
                scaled = None if interval is None else (factor * interval[0], factor * interval[1])
                speedup = latency_ms / row.latency_ms
                self.rows[trial] = replace(row, speedup=speedup, speedup_interval=scaled)

    def _has_new_weights(self, row: TrialRow, rung: int) -> bool:
        """Whether the row's weights were new at that rung. Other bits of known weights take seconds, and count for no rung."""
        weights = row.recipe.trained() if self.reuse else row.recipe
        if row.recipe.shares_weights(self.rows[0].recipe) or (weights.key, rung) in self._trained:
            return False
        self._trained.add((weights.key, rung))
        return True

    @property
    def teacher(self) -> TrialRow:
        """Trial 0."""
        return self.rows[0]

    @property
    def front(self) -> list[TrialRow]:
        """The rows on the front, by number."""
        return [replace(self.rows[trial], on_front=True) for trial in sorted(self._front)]

    def promotions(self, rung: int) -> list[Promotion]:
        """Return the candidates at a rung with the largest expected gain of training (see `selection.promotions`)."""
        return self._rungs.promotions(rung) if self._rungs is not None else []

    def beyond_trained(self) -> TrialRow | None:
        """Return a candidate much faster than all that were trained in full (see `selection.beyond_trained`)."""
        return beyond_trained(list(self.rows.values()), self.constraints)

    def prospects(self) -> list[Prospect]:
        """Return the candidates that may become the model to pick (see `selection.prospects`)."""
        return prospects(list(self.rows.values()), self.constraints, self.examples)

    def largest_promised_gain(self) -> float:
        """Return the largest gain of hypervolume to expect from training one candidate further."""
        return max((best.gain for rung in range(LAST_RUNG) for best in self.promotions(rung)[:1]), default=0.0)

    @property
    def hypervolume(self) -> float:
        """The hypervolume of the front; 0 before the teacher is measured."""
        return hypervolume([self.rows[trial] for trial in self._front], self.reference) if self.reference else 0.0
