"""Decide what a search does next: try a new candidate, train a known one further, or end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autocompress.config import LAST_RUNG, StudyPlan
from autocompress.core.recipe import Recipe, Scalar
from autocompress.core.technique import ordered_techniques
from autocompress.search.budget import BudgetMeter
from autocompress.search.known_trials import KnownTrials
from autocompress.space.space import Space

SHARES = (0.3, 0.2, 0.5)  # of the workers' time, for the trainings of each rung
FEWEST_UNTRAINED = 4  # tried before one of them is chosen for training
FEW_DUPLICATES = 3
DUPLICATES_IN_A_ROW = 10  # known proposals, one after another: the space is as good as exhausted


@dataclass(frozen=True)
class RunningTrial:
    """A trial that runs now."""

    recipe: Recipe
    rung: int
    seconds: float  # so far


@dataclass(frozen=True)
class PromotionRequest:
    """A request to train a known candidate up to a rung."""

    recipe: Recipe
    rung: int
    trial: int  # where the candidate stands now
    reason: str


@dataclass
class Scheduler:
    """Chooses the rung of the next trial: the one that is furthest behind its share of the time."""

    plan: StudyPlan
    space: Space
    meter: BudgetMeter
    duplicates: int = 0  # known proposals in a row
    has_stalled: bool = False  # whether the front has stopped growing

    def first_rung(self, recipe: Recipe) -> int:
        """Return the first rung of a new recipe: 0, or the last one where rungs are off or nothing is removed."""
        return 0 if self.plan.engine.rungs and not recipe.shares_weights(self.space.teacher) else LAST_RUNG

    @property
    def pinned(self) -> Mapping[str, Scalar]:
        """Values that all new recipes have: with rungs those that need no training; their others are tried after full training.

        Nothing is pinned once proposals repeat, because few other recipes are left.
        """
        engine = self.plan.engine
        is_trained = any(ordered_techniques()[name].is_trained for name in self.space.free)
        is_pinned = engine.rungs and engine.reuse and is_trained and self.duplicates < FEW_DUPLICATES
        return self.space.first_values() if is_pinned else {}

    def choose(self, known: KnownTrials, running: Sequence[RunningTrial]) -> PromotionRequest | str | None:
        """Return the candidate to train further, null to try a new one, or a text: the reason why neither is possible.

        Weights that are being trained are not chosen: they will serve all recipes that share them.
        """
        if self.plan.start is not None:
            return "the earlier candidate was measured, trained and measured again"
        if not self.plan.engine.rungs:
            return self._reason_of_exhaustion()
        if (prospect := self.best_prospect(known, running)) is not None:
            return prospect
        spent = list(known.seconds)
        for trial in running:
            spent[trial.rung] += trial.seconds
        begun = known.untrained + sum(trial.rung == 0 for trial in running)
        if begun < FEWEST_UNTRAINED and self._reason_of_exhaustion() is None:
            return None
        if (ladder := self._beyond_trained(known, running)) is not None:
            return ladder
        behind = sorted(range(LAST_RUNG + 1), key=lambda rung: spent[rung] / SHARES[rung])
        below = range(behind[0], -1, -1)  # the rungs that supply candidates to the one furthest behind
        for rung in dict.fromkeys((*below, *behind)):
            if rung == 0 and self._reason_of_exhaustion() is None and self.meter.fits(rung):
                return None
            if rung > 0 and (request := self._promotion_to(rung, known, running)) is not None:
                return request
        return self._reason_of_exhaustion() or "the time left is too short for another trial"

    def _beyond_trained(self, known: KnownTrials, running: Sequence[RunningTrial]) -> PromotionRequest | None:
        """Return a candidate much faster than all that were trained in full, if any; one such training at a time."""
        row = known.beyond_trained()
        is_busy = any(trial.rung == LAST_RUNG for trial in running)
        if row is None or is_busy or not self.meter.fits(LAST_RUNG, row.latency_ms):
            return None
        return PromotionRequest(row.recipe, LAST_RUNG, row.trial, "much faster than all that were trained in full")

    def best_prospect(self, known: KnownTrials, running: Sequence[RunningTrial]) -> PromotionRequest | None:
        """Return the candidate to train in full that may become the model to pick, once the front has stopped growing."""
        if not self.has_stalled:
            return None
        in_training = {trial.recipe.trained() for trial in running if trial.rung == LAST_RUNG}
        for prospect in known.prospects():
            row = prospect.row
            if row.recipe.trained() not in in_training and self.meter.fits(LAST_RUNG, row.latency_ms):
                return PromotionRequest(row.recipe, LAST_RUNG, row.trial, prospect.describe())
        return None

    def _promotion_to(self, rung: int, known: KnownTrials, running: Sequence[RunningTrial]) -> PromotionRequest | None:
        """Return the best candidate that can be trained as far as a rung in the time left, or null."""
        in_training = {trial.recipe.trained() for trial in running if trial.rung >= rung}
        for promotion in known.promotions(rung - 1):
            row = promotion.row
            if row.recipe.trained() not in in_training and self.meter.fits(rung, row.latency_ms):
                reason = f"rank {promotion.rank}, expected gain of {promotion.gain:.3g} points × octaves²"
                return PromotionRequest(row.recipe, rung, row.trial, reason)
        return None

    def _reason_of_exhaustion(self) -> str | None:
        if self.duplicates < DUPLICATES_IN_A_ROW:
            return None
        return f"the last {self.duplicates} proposals were all known: the space is exhausted"
