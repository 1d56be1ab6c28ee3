"""What a search does next: try something new, train a known candidate further, or end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autocompress.budget import Meter
from autocompress.front import Reference, hypervolume, on_front, promotions
from autocompress.measurement import Result
from autocompress.plan import LAST_RUNG, StudyPlan
from autocompress.recipe import Recipe
from autocompress.space import Space
from autocompress.study import StudyView

SHARES = (0.3, 0.3, 0.4)  # of the workers' time, for trials at each rung
TWINS_IN_A_ROW = 10  # proposals already known, one after another: the space is as good as exhausted


@dataclass
class Known:
    """The rows of a study, kept up with what its supervisor tells: reading thousands of them again for each trial would
    take longer than the smallest trials do."""

    objectives: tuple[str, ...]
    constraints: Mapping[str, float | None]
    reference: Reference | None
    rows: dict[int, Result] = field(default_factory=dict)
    _front: frozenset[int] = frozenset()

    @classmethod
    def of(cls, view: StudyView) -> Known:
        """All that a study holds."""
        known = cls(view.objectives, view.constraints, view.reference, {row.trial: row for row in view.rows})
        known._front = frozenset(row.trial for row in view.front)
        return known

    def add(self, row: Result) -> None:
        """A trial that began, or ended."""
        self.rows[row.trial] = row
        if row.state == "complete":  # whoever was dominated stays so: the front and the newcomer are all that matter
            near = [self.rows[trial] for trial in {0, row.trial} | self._front if trial in self.rows]
            self._front = frozenset(on_front(near, self.objectives, self.constraints))

    @property
    def teacher(self) -> Result:
        """Trial 0."""
        return self.rows[0]

    @property
    def front(self) -> list[Result]:
        """The rows on the front, by number."""
        return [replace(self.rows[trial], on_front=True) for trial in sorted(self._front)]

    @property
    def hypervolume(self) -> float:
        """Of the front; 0 before the teacher is measured."""
        return hypervolume(self.front, self.reference) if self.reference else 0.0


@dataclass(frozen=True)
class Running:
    """A trial under way."""

    recipe: Recipe
    rung: int
    seconds: float  # so far


@dataclass(frozen=True)
class Further:
    """A known candidate, to be trained as far as a rung."""

    recipe: Recipe
    rung: int


@dataclass
class Schedule:
    """Chooses between the rungs: the one goes next that is furthest behind its share of the time."""

    plan: StudyPlan
    space: Space
    meter: Meter
    twins: int = 0  # proposals in a row that were known already

    def first_rung(self, recipe: Recipe) -> int:
        """Where a new recipe begins: untrained, unless there is nothing to train or rungs are switched off."""
        whole = recipe.structure() == Recipe(depth=self.space.layers)
        return 0 if self.plan.engine.rungs and not whole else LAST_RUNG

    def next(self, known: Known, running: Sequence[Running]) -> Further | str | None:
        """A candidate to be trained further; null for a new one; or, as text, why there is neither.

        What is being trained already waits for its weights, which its siblings share.
        """
        rows = list(known.rows.values())
        if not self.plan.engine.rungs:
            return self._exhausted()
        spent = _seconds(rows, running)
        fitting = [rung for rung in range(LAST_RUNG + 1) if self.meter.fits(rung)]
        for rung in sorted(fitting, key=lambda rung: spent[rung] / SHARES[rung]):
            if rung == 0 and self._exhausted() is None:
                return None
            if rung > 0 and known.reference is not None:
                busy = {trial.recipe.structure() for trial in running if trial.rung >= rung}
                for one in promotions(rows, rung - 1, known.reference, known.constraints):
                    if one.row.recipe.structure() not in busy:
                        return Further(one.row.recipe, rung)
        return self._exhausted() or "the time left is too short for another trial"

    def _exhausted(self) -> str | None:
        if self.twins < TWINS_IN_A_ROW:
            return None
        return f"the last {self.twins} proposals were all known: the space is exhausted"


def _seconds(rows: Sequence[Result], running: Sequence[Running]) -> list[float]:
    """Seconds that trials at each rung have taken."""
    spent = [0.0] * (LAST_RUNG + 1)
    for row in rows:
        if row.rung is not None:
            spent[row.rung] += row.seconds or 0.0
    for trial in running:
        spent[trial.rung] += trial.seconds
    return spent
