"""How much of a study's budget is used, and whether another trial may start."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from math import log

from autocompress.config import Budget
from autocompress.study import BudgetSpent, Study

SAVE_SECONDS = 5.0  # how much of the time used a kill may lose
DEFAULT_TRIALS = 40  # where the study file sets no budget


@dataclass
class BudgetMeter:
    """Counts the trials and the seconds of one run; the study keeps them over runs."""

    budget: Budget
    study: Study
    durations: dict[int, list[tuple[float, float]]] = field(
        default_factory=dict
    )  # rung -> latency in ms and seconds of this run's trials that ended at it
    _began: float = field(default_factory=time.monotonic)
    _saved: float = 0.0  # seconds of this run already added to the study
    _spent: BudgetSpent | None = None  # as last read: the supervisor must not compute while workers measure

    @property
    def spent(self) -> BudgetSpent:
        """What the study has used, as far as it is written down."""
        self._spent = self._spent or self.study.budget_spent()
        return self._spent

    @property
    def seconds(self) -> float:
        """All time used, this run's included."""
        return self.spent.seconds + self._unsaved()

    def changed(self) -> None:
        """A trial began or ended: count again."""
        self._spent = None

    def save(self, force: bool = False) -> None:
        """Write down the time used, now or once in a while."""
        seconds = self._unsaved()
        if force or seconds > SAVE_SECONDS:
            self.study.add_seconds(seconds)
            self._saved += seconds
            self.changed()

    def ending(self, running: int) -> str | None:
        """Why no further trial may start beside those that run, or null. Time alone never ends a study without any trial."""
        budget, spent = self.budget, self.spent
        trials = budget.trials if budget.trials or budget.time else DEFAULT_TRIALS
        if trials is not None and spent.trials + running >= trials and not spent.retries_waiting:
            return f"the budget of {trials} trials is met"
        if budget.time is not None and budget.time <= self.seconds and spent.trials + running > 0:
            return f"the budget of {budget.time:.0f} s is met"
        return None

    def fits(self, rung: int, latency_ms: float | None = None) -> bool:
        """Whether a trial that ends at this rung would probably end within the time that is left.

        Training takes time as its model does: where the latency is known, the trial that was most alike tells.
        """
        if self.budget.time is None or not (known := self.durations.get(rung)):
            return True
        expected = statistics.median(seconds for _, seconds in known)
        if latency_ms is not None:
            near, seconds = min(known, key=lambda one: abs(log(one[0] / latency_ms)))
            expected = seconds * latency_ms / near
        return self.budget.time - self.seconds >= 0.8 * expected

    def _unsaved(self) -> float:
        return time.monotonic() - self._began - self._saved
