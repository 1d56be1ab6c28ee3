"""Whether a search still finds anything, and what more time would probably buy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

WINDOW = 0.4  # of the time searched: what it brought decides
LEAST_WINDOW = 180.0  # seconds
LEAST_GROWTH = 0.002  # of the hypervolume, within the window
LEAST_TRIALS = 30


@dataclass
class HypervolumeHistory:
    """The hypervolume of the front over time, trial by trial."""

    moments: list[tuple[float, float]] = field(default_factory=list)  # seconds of the study, hypervolume

    def add(self, seconds: float, hypervolume: float) -> None:
        """A trial ended."""
        self.moments.append((seconds, hypervolume))

    def brought(self) -> float:
        """The part of the hypervolume that came with the trial that ended last."""
        (_, before), (_, reached) = ((0.0, 0.0), (0.0, 0.0), *self.moments)[-2:]
        return (reached - before) / reached if reached > 0 else 0.0

    def stalled(self, promise: Callable[[], float]) -> str | None:
        """Why to stop, where the last 40 % of the time brought next to nothing; null while it is worth going on.

        `promise` tells the hypervolume that training a known candidate further would probably add: as long as that is
        something, the search has not come to its end.
        """
        if len(self.moments) < LEAST_TRIALS:
            return None
        (begin, _), (now, reached) = self.moments[0], self.moments[-1]
        window = max(LEAST_WINDOW, WINDOW * (now - begin))
        if now - begin < 2 * window or self._gained(window) >= LEAST_GROWTH * reached:
            return None
        if promise() >= LEAST_GROWTH * reached:
            return None
        return (
            f"the hypervolume grew by {100 * self._gained(window) / reached:.1f} % in the last {window / 60:.0f} min:"
            " more time would hardly buy anything"
        )

    def forecast(self) -> str | None:
        """What as much time again would probably buy, in words; null where there is too little to tell.

        A search gains less and less: the second half of its time brought more than as much time again will.
        """
        if len(self.moments) < LEAST_TRIALS:
            return None
        (begin, _), (now, reached) = self.moments[0], self.moments[-1]
        if reached <= 0:
            return None
        gained = 100 * self._gained((now - begin) / 2) / reached
        return (
            f"the second half of the search brought {gained:.1f} % of the hypervolume; as much time again would probably"
            " bring less than that"
        )

    def _gained(self, window: float) -> float:
        now, reached = self.moments[-1]
        before = [value for seconds, value in self.moments if seconds <= now - window]
        return reached - (before[-1] if before else 0.0)
