"""Describe what the workers of a search do, and how much of the budget is used."""

from __future__ import annotations

from dataclasses import dataclass

from autocompress.core.formatting import duration


@dataclass
class WorkerActivity:
    """The stage that a worker is in."""

    trial: int
    description: str  # of the trial's recipe
    stage: str
    fraction: float
    since: float  # monotonic seconds

    def describe(self, now: float) -> str:
        """Return for example `trial 7: recovery 43% (12 s) · 3 layers · 8-bit`."""
        percent = f" {self.fraction:.0%}" if self.fraction > 0 else ""
        return f"trial {self.trial}: {self.stage}{percent} ({now - self.since:.0f} s) · {self.description}"


@dataclass
class BudgetProgress:
    """The used part of the budget, and the estimated time until all of it is used."""

    trials: int = 0
    of_trials: int | None = None
    seconds: float = 0.0
    of_seconds: float | None = None
    first: tuple[int, float] | None = None  # trials and seconds when the first trial of this run began

    def update(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None, begun: bool) -> None:
        """Set the numbers; `begun` says that a trial other than the teacher is running."""
        self.trials, self.of_trials, self.seconds, self.of_seconds = trials, of_trials, seconds, of_seconds
        if begun and self.first is None:
            self.first = (trials, seconds)

    def seconds_left(self) -> float | None:
        """Estimate the seconds until trials or time are used up, whichever is first; null while it is unknown."""
        estimates = [] if self.of_seconds is None else [self.of_seconds - self.seconds]
        if self.of_trials is not None and self.first is not None and self.trials > self.first[0]:
            seconds_per_trial = (self.seconds - self.first[1]) / (self.trials - self.first[0])
            estimates.append(seconds_per_trial * (self.of_trials - self.trials))
        return max(0.0, min(estimates)) if estimates else None

    def describe(self) -> str:
        """Return for example `7 of 40 trials · 3 min of 30 min · about 20 min left`."""
        trials = f"{self.trials} of {self.of_trials} trials" if self.of_trials else f"{self.trials} trials"
        used = duration(self.seconds) + (f" of {duration(self.of_seconds)}" if self.of_seconds else "")
        left = self.seconds_left()
        return f"{trials} · {used}" + (f" · about {duration(left)} left" if left is not None else "")
