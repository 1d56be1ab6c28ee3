"""Record how the latency of the reference varies between measurements; a single process cannot measure this.

Other programs on the same host, its memory and its clock slow a large fp32 teacher down by more than a small model, for
minutes, and no counter of this machine shows it. A speedup beside the teacher is only as precise as the teacher's latency; most
studies time their models beside a small one instead (see `backends/reference_timing.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, hypot, log, sqrt
from pathlib import Path

import numpy as np

from autocompress.benchmarking.latency import BETWEEN_PROCESSES
from autocompress.core.measurement import Interval, Latency

MIN_MEASUREMENTS, MAX_MEASUREMENTS = 5, 200  # fewer show nothing; of more, the last ones count
NOTEWORTHY_SPREAD = 0.05


@dataclass(frozen=True)
class Drift:
    """The latencies of one reference on one device, measurement after measurement: a file with one latency (ms) a line."""

    file: Path

    def note(self, reference_ms: float) -> float:
        """Add a measurement; return the standard deviation of the logarithms so far, 0 for fewer than 5 measurements."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="ascii") as file:
            file.write(f"{reference_ms:.6f}\n")  # in one write, since several workers append
        latencies = [float(line) for line in self.file.read_text(encoding="ascii").split()[-MAX_MEASUREMENTS:]]
        return float(np.std(np.log(latencies), ddof=1)) if len(latencies) >= MIN_MEASUREMENTS else 0.0


def with_drift(latency: Latency, spread: float) -> Latency:
    """Widen the speedup interval by a drift with the standard deviation `spread`; mention a noteworthy one in `noise`."""
    if spread <= BETWEEN_PROCESSES:  # the interval includes this much already
        return latency
    low, high = latency.speedup_interval.low, latency.speedup_interval.high
    middle, half = (log(low) + log(high)) / 2, hypot(log(high / low) / 2, 1.96 * sqrt(spread**2 - BETWEEN_PROCESSES**2))
    note = (
        f"the reference latency varied by {100 * spread:.0f} % (standard deviation) between measurements; the interval "
        "includes this"
    )
    return replace(
        latency,
        speedup_interval=Interval(low=exp(middle - half), high=exp(middle + half)),
        noise="; ".join(filter(None, (latency.noise, note if spread >= NOTEWORTHY_SPREAD else None))) or None,
    )
