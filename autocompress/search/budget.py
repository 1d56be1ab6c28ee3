"""Measure how much of a study's budget is used, and decide whether another trial may start."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from math import log

from autocompress.config import Budget
from autocompress.study import BudgetSpent, Study

SAVE_SECONDS = 5.0  # of the time used, which a kill may lose
DEFAULT_TRIALS = 40  # where the study file sets no budget
MOST_RESERVED = 0.2  # of the time budget
FITTING_SHARE = 0.8  # of the expected time of a trial must be left for it to start


@dataclass
class BudgetMeter:
    """Counts the trials and the seconds of one run; the study stores the totals of all runs."""

    budget: Budget
    study: Study
    # rung -> latency in ms and seconds of this run's trials that ended at it
    durations: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    reserved: float = 0.0  # seconds in which the finalists will be compared and tested
    _began: float = field(default_factory=time.monotonic)
    _saved: float = 0.0  # seconds of this run already added to the study
    _spent: BudgetSpent | None = None  # as last read: the supervisor must not compute while workers measure

    @property
    def spent(self) -> BudgetSpent:
        """The used budget of the study, as far as it is stored."""
        self._spent = self._spent or self.study.budget_spent()
        return self._spent

    @property
    def seconds(self) -> float:
        """All time used, this run's included."""
        return self.spent.seconds + self._unsaved_seconds()

    def invalidate(self) -> None:
        """Read the used budget again at the next use, because a trial began or ended."""
        self._spent = None

    def add_duration(self, rung: int, latency_ms: float, seconds: float) -> None:
        """Remember how long a trial of that latency took at a rung."""
        self.durations.setdefault(rung, []).append((latency_ms, seconds))

    def save(self, force: bool = False) -> None:
        """Store the used time: at once (`force`), or after some seconds."""
        seconds = self._unsaved_seconds()
        if force or seconds > SAVE_SECONDS:
            self.study.add_seconds(seconds)
            self._saved += seconds
            self.invalidate()

    def reason_to_end(self, running: int) -> str | None:
        """Return why no trial may start beside `running` ones, or null. Time alone never ends a study without a trial."""
        budget, spent = self.budget, self.spent
        trials = budget.trials if budget.trials or budget.time else DEFAULT_TRIALS
        if trials is not None and spent.trials + running >= trials and not spent.retries_waiting:
            return f"the budget of {trials} trials is met"
        if budget.time is not None and self._seconds_left(budget.time) <= 0 and spent.trials + running > 0:
            return f"the budget of {budget.time:.0f} s is met"
        return None

    def fits(self, rung: int, latency_ms: float | None = None) -> bool:
        """Whether a trial that ends at this rung would probably end within the time that is left.

        The time of a training is proportional to the model's latency: where it is known, the trial of the most similar latency
        predicts the time.
        """
        if self.budget.time is None or not (known := self.durations.get(rung)):
            return True
        expected = statistics.median(seconds for _, seconds in known)
        if latency_ms is not None:
            nearest_ms, seconds = min(known, key=lambda entry: abs(log(entry[0] / latency_ms)))
            expected = seconds * latency_ms / nearest_ms
        return self._seconds_left(self.budget.time) >= FITTING_SHARE * expected

    def _seconds_left(self, budget: float) -> float:
        """Return the seconds that trials may still take."""
        return budget - min(self.reserved, MOST_RESERVED * budget) - self.seconds

    def _unsaved_seconds(self) -> float:
        return time.monotonic() - self._began - self._saved
