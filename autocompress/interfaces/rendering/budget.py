"""What a search is doing and how far it is, in words."""

from __future__ import annotations

from dataclasses import dataclass

from autocompress.core.formatting import duration


@dataclass
class WorkerActivity:
    """What a worker is doing."""

    trial: int
    words: str
    stage: str
    fraction: float
    since: float  # monotonic seconds

    def describe(self, now: float) -> str:
        """`trial 7: recovery 43 % (12 s) · 3 layers · 8-bit`."""
        done = f" {self.fraction:.0%}" if self.fraction > 0 else ""
        return f"trial {self.trial}: {self.stage}{done} ({now - self.since:.0f} s) · {self.words}"


@dataclass
class BudgetProgress:
    """How much of the budget is used, and when it will be."""

    trials: int = 0
    of_trials: int | None = None
    seconds: float = 0.0
    of_seconds: float | None = None
    first: tuple[int, float] | None = None  # trials and seconds when the first trial of this run began

    def update(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None, begun: bool) -> None:
        """Take the new numbers; `begun`: a trial, not the teacher, is being done."""
        self.trials, self.of_trials, self.seconds, self.of_seconds = trials, of_trials, seconds, of_seconds
        if begun and self.first is None:
            self.first = (trials, seconds)

    def left(self) -> float | None:
        """Seconds until the budget is met, whichever part comes first; null while it cannot be told."""
        ways = [] if self.of_seconds is None else [self.of_seconds - self.seconds]
        if self.of_trials is not None and self.first is not None and self.trials > self.first[0]:
            each = (self.seconds - self.first[1]) / (self.trials - self.first[0])
            ways.append(each * (self.of_trials - self.trials))
        return max(0.0, min(ways)) if ways else None

    def describe(self) -> str:
        """`trial 7 of 40 · 3 min of 30 min · about 20 min left`."""
        trials = f"{self.trials} of {self.of_trials} trials" if self.of_trials else f"{self.trials} trials"
        used = duration(self.seconds) + (f" of {duration(self.of_seconds)}" if self.of_seconds else "")
        left = self.left()
        return f"{trials} · {used}" + (f" · about {duration(left)} left" if left is not None else "")
