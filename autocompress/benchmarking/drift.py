"""How the reference's own latency moves from one measurement to the next: what no single process can see.

Neighbours on the same host, its memory and its clock slow a large fp32 teacher down by more than a small model, for
minutes, and no counter of this machine shows it. A speed-up is then known no better than the reference is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, hypot, log, sqrt
from pathlib import Path

import numpy as np

from autocompress.benchmarking.latency import BETWEEN
from autocompress.core.measurement import Interval, Latency

FEWEST, MOST = 5, 200  # measurements that tell anything; the last ones that count
WORTH_SAYING = 0.05


@dataclass(frozen=True)
class Drift:
    """What one reference took on one device, measurement after measurement: a file of milliseconds, one a line."""

    file: Path

    def note(self, reference_ms: float) -> float:
        """Add a measurement; the standard deviation of the logarithms of all so far, 0 while there are fewer than five."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="ascii") as file:
            file.write(f"{reference_ms:.6f}\n")  # in one write: workers add to it side by side
        seen = [float(line) for line in self.file.read_text(encoding="ascii").split()[-MOST:]]
        return float(np.std(np.log(seen), ddof=1)) if len(seen) >= FEWEST else 0.0


def with_drift(found: Latency, spread: float) -> Latency:
    """Its interval as wide as a drift of that standard deviation makes it, and said where it is worth saying."""
    if spread <= BETWEEN:  # which is in it already
        return found
    low, high = found.speedup_interval.low, found.speedup_interval.high
    middle, half = (log(low) + log(high)) / 2, hypot(log(high / low) / 2, 1.96 * sqrt(spread**2 - BETWEEN**2))
    words = f"the reference's own latency moved by {100 * spread:.0f} % (s.d.) between measurements, which the interval holds"
    return replace(
        found,
        speedup_interval=Interval(low=exp(middle - half), high=exp(middle + half)),
        noise="; ".join(filter(None, (found.noise, words if spread >= WORTH_SAYING else None))) or None,
    )
