"""When the front has stopped growing: choose a candidate to train in full because it may become the model that is picked.

The hypervolume pays the same for every drop below its corner. Who asks for the fastest model within `max_drop` gains only from
a faster one that holds it, and most of all from the candidates just above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from statistics import NormalDist

from autocompress.config import LAST_RUNG
from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import Constraints, broken
from autocompress.selection.judged_models import judge_models

KEPT_DROP = 0.75  # fraction of a cautious drop that remains after a full training; in recorded searches 0.5 to 1.0
KEPT_DROP_WEIGHT = 0.02  # drop that the study must have seen to weigh as much as that
KEPT_DEVIATION = 0.15  # standard deviation of the fraction
LEAST_GAIN = 0.02  # octaves of latency
MOST_MODELS = 400  # beyond it the estimate takes seconds


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """A candidate that may become the model to pick, once it is trained in full."""

    row: TrialRow  # at its present rung
    chance: float  # that it will hold `max_drop`
    speedup: float  # its latency as a part of the pick's of now, inverted

    @property
    def gain(self) -> float:
        """The octaves of latency to expect."""
        return self.chance * log2(self.speedup)

    def describe(self) -> str:
        """Describe in a few words why it is trained."""
        return f"a chance of {self.chance:.0%} to hold max_drop, {self.speedup:.2f}× as fast as the pick"


def prospects(rows: Sequence[TrialRow], constraints: Constraints, examples: int | None) -> list[Prospect]:
    """Return the candidates below the last rung that may become faster models within `max_drop`, the largest gain first.

    `examples` is the number of validation rows. Empty without a `max_drop`.
    """
    max_drop = constraints.get("max_drop")
    if max_drop is None or len(rows) > MOST_MODELS:
        return []
    models = judge_models(rows, constraints, examples)
    cautious = {row.trial: max(0.0, row.drop or 0.0) for row in models.cautious if row.trial}
    latency = min(row.latency_ms or 0.0 for row in models.fitting or [row for row in rows if row.trial == 0])
    begun: dict[str, int] = {}
    for row in rows:
        begun[row.recipe.key] = max(begun.get(row.recipe.key, 0), row.rung or 0)
    kept, limits = _kept_drop(rows, cautious), {**constraints, "max_drop": None}
    found = []
    for trial, drop in cautious.items():
        row = models.measured[trial]
        is_new = row.rung is not None and begun[row.recipe.key] == row.rung < LAST_RUNG
        if not is_new or not row.latency_ms or row.latency_ms >= latency or broken(row, limits):
            continue
        expected = NormalDist(kept * drop, max(KEPT_DEVIATION * drop, 1e-6))
        found.append(Prospect(row=row, chance=expected.cdf(max_drop), speedup=latency / row.latency_ms))
    return sorted((each for each in found if each.gain >= LEAST_GAIN), key=lambda each: (-each.gain, each.row.trial))


def _kept_drop(rows: Sequence[TrialRow], cautious: dict[int, float]) -> float:
    """Estimate the fraction of its cautious drop that a candidate keeps when it is trained in full."""
    before, after = KEPT_DROP_WEIGHT, KEPT_DROP * KEPT_DROP_WEIGHT
    trained = {row.recipe.key: cautious[row.trial] for row in rows if row.rung == LAST_RUNG and row.trial in cautious}
    for row in rows:
        if row.rung is not None and row.rung < LAST_RUNG and row.trial in cautious and row.recipe.key in trained:
            before, after = before + cautious[row.trial], after + trained[row.recipe.key]
    return min(1.0, after / before)
