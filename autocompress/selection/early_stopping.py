"""Decide whether the hypervolume still grows, and forecast how much further search would add to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

WINDOW = 0.4  # of the time searched: the growth within it decides
LEAST_WINDOW = 180.0  # seconds
LEAST_GROWTH = 0.002  # of the hypervolume, within the window
LEAST_TRIALS = 30


@dataclass
class HypervolumeHistory:
    """The hypervolume of the front over time, trial by trial."""

    moments: list[tuple[float, float]] = field(default_factory=list)  # seconds of the study, hypervolume

    def add(self, seconds: float, hypervolume: float) -> None:
        """Record the hypervolume after a trial ended."""
        self.moments.append((seconds, hypervolume))

    def last_growth(self) -> float:
        """Return the fraction of the hypervolume that the last trial added."""
        (_, before), (_, reached) = ((0.0, 0.0), (0.0, 0.0), *self.moments)[-2:]
        return (reached - before) / reached if reached > 0 else 0.0

    def stalled(self, expected_gain: Callable[[], float]) -> str | None:
        """Return the reason to stop where the hypervolume hardly grew in the last 40 % of the time, else null.

        `expected_gain` returns the hypervolume that training a known candidate further would probably add; the search
        does not stop while that is at least `LEAST_GROWTH` of the hypervolume.
        """
        if len(self.moments) < LEAST_TRIALS:
            return None
        (begin, _), (now, reached) = self.moments[0], self.moments[-1]
        window = max(LEAST_WINDOW, WINDOW * (now - begin))
        if now - begin < 2 * window or self._growth_within(window) >= LEAST_GROWTH * reached:
            return None
        if expected_gain() >= LEAST_GROWTH * reached:
            return None
        return (
            f"the hypervolume grew by {100 * self._growth_within(window) / reached:.1f} % in the last {window / 60:.0f} min:"
            " more time would hardly improve the front"
        )

    def forecast(self) -> str | None:
        """Describe how much the same time again would probably bring; null before 30 trials.

        The growth of a search slows down: the second half of its time brings more than the same time again will.
        """
        if len(self.moments) < LEAST_TRIALS:
            return None
        (begin, _), (now, reached) = self.moments[0], self.moments[-1]
        if reached <= 0:
            return None
        gained = 100 * self._growth_within((now - begin) / 2) / reached
        return (
            f"the second half of the search brought {gained:.1f} % of the hypervolume; the same time again would probably"
            " bring less"
        )

    def _growth_within(self, window: float) -> float:
        now, reached = self.moments[-1]
        before = [value for seconds, value in self.moments if seconds <= now - window]
        return reached - (before[-1] if before else 0.0)
