"""What a search does next: try something new, train a known candidate further, or end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autocompress.config import LAST_RUNG, StudyPlan
from autocompress.core.recipe import AFTER_RECOVERY, Recipe, Scalar
from autocompress.core.trial_row import TrialRow
from autocompress.search.budget import BudgetMeter
from autocompress.selection import Promotion, Reference, Rungs, hypervolume, on_front
from autocompress.space.space import Space
from autocompress.study import StudyView

SHARES = (0.3, 0.2, 0.5)  # of the workers' time, for the trainings of each rung
FEWEST_TRIED = 4  # untrained, before one of them is chosen for training
FEW_DUPLICATES = 3
DUPLICATES_IN_A_ROW = 10  # proposals already known, one after another: the space is as good as exhausted


@dataclass
class KnownTrials:
    """The rows of a study, kept up with what its supervisor tells: reading thousands of them again for each trial would
    take longer than the smallest trials do."""

    objectives: tuple[str, ...]
    constraints: Mapping[str, float | None]
    reference: Reference | None
    rows: dict[int, TrialRow] = field(default_factory=dict)
    reuse: bool = True  # whether one training serves all bit-widths of a structure
    seconds: list[float] = field(
        default_factory=lambda: [0.0] * (LAST_RUNG + 1)
    )  # that each rung's trainings have taken
    tried: int = 0  # candidates that ended untrained
    _trained: set[tuple[str, int]] = field(default_factory=set)  # weights, at a rung
    _front: frozenset[int] = frozenset()
    _rungs: Rungs | None = field(init=False)

    def __post_init__(self) -> None:
        self._rungs = Rungs(self.reference, self.constraints) if self.reference else None

    @classmethod
    def of(cls, view: StudyView, reuse: bool = True) -> KnownTrials:
        """All that a study holds."""
        known = cls(view.objectives, view.constraints, view.reference, reuse=reuse)
        for row in view.rows:
            known.add(row)
        return known

    def add(self, row: TrialRow) -> None:
        """A trial that began, or ended."""
        self.rows[row.trial] = row
        if self._rungs is not None:
            self._rungs.add(row)
        self.tried += row.rung == 0 and row.state != "running"
        if row.rung is not None and row.state != "running" and self._is_first(row, row.rung):
            self.seconds[row.rung] += row.seconds or 0.0
        if row.state == "complete":  # whoever was dominated stays so: the front and the newcomer are all that matter
            near = [self.rows[trial] for trial in {0, row.trial} | self._front if trial in self.rows]
            self._front = frozenset(on_front(near, self.objectives, self.constraints))

    def _is_first(self, row: TrialRow, rung: int) -> bool:
        """Whether its weights were new at that rung. Other bits of them take seconds, and are no rung's share."""
        structure = row.recipe.structure()
        weights = structure if self.reuse else row.recipe
        if structure == Recipe(depth=self.rows[0].recipe.depth) or (weights.key, rung) in self._trained:
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
        """See `front.promotions`."""
        return self._rungs.promotions(rung) if self._rungs is not None else []

    def promise(self) -> float:
        """The most hypervolume that the front would probably gain from training one candidate further."""
        return max((one.gain for rung in range(LAST_RUNG) for one in self.promotions(rung)[:1]), default=0.0)

    @property
    def hypervolume(self) -> float:
        """Of the front; 0 before the teacher is measured."""
        return hypervolume([self.rows[trial] for trial in self._front], self.reference) if self.reference else 0.0


@dataclass(frozen=True)
class RunningTrial:
    """A trial under way."""

    recipe: Recipe
    rung: int
    seconds: float  # so far


@dataclass(frozen=True)
class PromotionRequest:
    """A known candidate, to be trained as far as a rung."""

    recipe: Recipe
    rung: int


@dataclass
class Scheduler:
    """Chooses between the rungs: the one goes next that is furthest behind its share of the time."""

    plan: StudyPlan
    space: Space
    meter: BudgetMeter
    duplicates: int = 0  # proposals in a row that were known already

    def first_rung(self, recipe: Recipe) -> int:
        """Where a new recipe begins: untrained, unless there is nothing to train or rungs are switched off."""
        whole = recipe.structure() == Recipe(depth=self.space.layers)
        return 0 if self.plan.engine.rungs and not whole else LAST_RUNG

    @property
    def pinned(self) -> Mapping[str, Scalar]:
        """What new recipes have in common: with rungs, the bits, since only full training is worth trying all of them.

        Where proposals repeat themselves, nothing: few structures are left.
        """
        engine = self.plan.engine
        structures = set(self.space.free) - set(AFTER_RECOVERY)
        usual = engine.rungs and engine.reuse and structures and self.duplicates < FEW_DUPLICATES
        return self.space.usual_bits() if usual else {}

    def next(self, known: KnownTrials, running: Sequence[RunningTrial]) -> PromotionRequest | str | None:
        """A candidate to be trained further; null for a new one; or, as text, why there is neither.

        What is being trained already waits for its weights, which its siblings share.
        """
        if not self.plan.engine.rungs:
            return self._exhausted()
        spent = list(known.seconds)
        for trial in running:
            spent[trial.rung] += trial.seconds
        begun = known.tried + sum(trial.rung == 0 for trial in running)
        if begun < FEWEST_TRIED and self._exhausted() is None:
            return None
        behind = sorted(range(LAST_RUNG + 1), key=lambda rung: spent[rung] / SHARES[rung])
        below = range(behind[0], -1, -1)  # they bring what the rung that is furthest behind has to wait for
        for rung in dict.fromkeys((*below, *behind)):
            if rung == 0 and self._exhausted() is None and self.meter.fits(rung):
                return None
            if rung > 0:
                busy = {trial.recipe.structure() for trial in running if trial.rung >= rung}
                for one in known.promotions(rung - 1):
                    if one.row.recipe.structure() not in busy and self.meter.fits(rung, one.row.latency_ms):
                        return PromotionRequest(one.row.recipe, rung)
        return self._exhausted() or "the time left is too short for another trial"

    def _exhausted(self) -> str | None:
        if self.duplicates < DUPLICATES_IN_A_ROW:
            return None
        return f"the last {self.duplicates} proposals were all known: the space is exhausted"
