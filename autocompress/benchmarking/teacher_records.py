"""Pool the measurements of the teacher beside the timing reference.

Other programs on the same host slow both models down, for seconds or minutes. Where they share the core's caches and units, the
small reference suffers more (1.5 times, the teacher 1.2): its own latency shows that, and such measurements are left out. Where
they take turns on the core, the teacher suffers alone: the lower quartile of the others repeats far better than their mean. It
is what the teacher takes while the host is calm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import hypot, log, nan, sqrt
from pathlib import Path

import numpy as np

from autocompress.benchmarking.block_pairs import DISTURBED_REFERENCE
from autocompress.core.composed_speedup import Ratio

MIN_SECONDS_APART = 6.0  # measurements closer than this add little
MOST_SHARE = 0.05  # of the time, for calls of the teacher
MAX_RECORDS = 400  # of more, the last ones count
CALM_SHARE = 0.25  # of the measurements are at most the pooled ratio
CORRELATED_SECONDS = 10.0  # measurements further apart count as independent (see studies/LOG.md)
DISTURBED_BIAS = 0.5  # of the logarithm of the reference's slowness: larger models are slowed down less
ASSUMED_SPREAD = 0.08  # s.d. of the logarithm of one measurement


@dataclass(frozen=True)
class TeacherRecords:
    """A file with one measurement a line: its time (s), the logarithm of teacher ÷ timing reference, its duration (s), the
    timing reference's latency (ms). A measurement of any model adds a line with the latency of the reference's fastest block.
    """

    file: Path

    def add(self, now: float, log_ratio: float, seconds: float, reference_ms: float) -> None:
        """Add a measurement of the teacher that took `seconds`."""
        self._append(now, log_ratio, seconds, reference_ms)

    def add_fastest(self, now: float, reference_ms: float) -> None:
        """Add the latency of the timing reference's fastest block in a measurement of any model."""
        self._append(now, nan, 0.0, reference_ms)

    def is_due(self, now: float) -> bool:
        """Return whether the last measurement is so long ago that another one is worth its time."""
        records = self.read()
        if not len(records):
            return True
        last, _, seconds, _ = records[-1]
        return bool(now - last >= max(MIN_SECONDS_APART, seconds / MOST_SHARE))

    def pool(self) -> tuple[Ratio, int]:
        """Return the pooled ratio and the number of measurements; ValueError where there is none."""
        records = self.read()
        return pool_calm(records, self.reference_ms()), len(records)

    def reference_ms(self) -> float | None:
        """Return the timing reference's latency while the host is calm; null before the first measurement.

        The first tenth of the latencies of fastest blocks: some measurements find no calm moment, and one may be very lucky.
        """
        lines = self._read_lines()
        fastest = lines[np.isnan(lines[:, 1])]
        known = fastest if len(fastest) else lines  # a series that began without them
        return float(np.quantile(known[:, 3], 0.1)) if len(known) else None

    def read(self) -> np.ndarray:
        """Return the measurements of the teacher (records, 4)."""
        lines = self._read_lines()
        return np.asarray(lines[~np.isnan(lines[:, 1])][-MAX_RECORDS:])

    def _append(self, *values: float) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="ascii") as file:
            file.write(" ".join(f"{value:.6f}" for value in values) + "\n")  # at once, since several workers append

    def _read_lines(self) -> np.ndarray:
        if not self.file.exists():
            return np.empty((0, 4))
        lines = self.file.read_text(encoding="ascii").splitlines()
        return np.array([[float(value) for value in line.split()] for line in lines]).reshape(-1, 4)


def pool_calm(records: np.ndarray, calm_reference_ms: float | None) -> Ratio:
    """Pool those of some measurements (records, 4) in which the timing reference was about as fast as in calm moments.

    Where there are none, the calmest tenth count; their interval is widened as that of any ratio beside a slow reference.
    """
    if not len(records) or calm_reference_ms is None:
        raise ValueError("the teacher was not measured beside the timing reference")
    calmest = float(np.quantile(records[:, 3], 0.1))
    calm = records[records[:, 3] <= max(calmest, DISTURBED_REFERENCE * calm_reference_ms)]
    pooled = pool(calm[:, 0], calm[:, 1])
    slowness = log(calmest / calm_reference_ms) if calmest > DISTURBED_REFERENCE * calm_reference_ms else 0.0
    return replace(pooled, half_width=hypot(pooled.half_width, DISTURBED_BIAS * slowness))


def pool(times: np.ndarray, logs: np.ndarray) -> Ratio:
    """Return the quantile of measurements (records,), taken at some times (s), that a quarter of them are below.

    Its 95 % interval holds the values whose ranks are 1.96 standard deviations of a binomial count away.
    Two measurements t seconds apart count as correlated by 1 − t ÷ 10; this gives the number of independent ones. A few
    measurements may all be disturbed, which an assumed spread stands for; it fades with their number.
    """
    correlations = np.clip(1 - np.abs(times[:, None] - times) / CORRELATED_SECONDS, 0, 1)
    independent = len(logs) ** 2 / float(correlations.sum())
    rank_error = 1.96 * sqrt(CALM_SHARE * (1 - CALM_SHARE) / independent)
    ranks = np.clip([CALM_SHARE - rank_error, CALM_SHARE, CALM_SHARE + rank_error], 0, 1)
    low, middle, high = (float(value) for value in np.quantile(logs, ranks))
    assumed = t_quantile(independent + 1) * ASSUMED_SPREAD / independent
    return Ratio(log=middle, half_width=hypot(max(middle - low, high - middle), assumed))


def t_quantile(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t for 2 or more degrees of freedom, by its expansion (error below 4 %)."""
    return 1.96 + 2.372 / freedom + 2.823 / freedom**2 + 2.556 / freedom**3
