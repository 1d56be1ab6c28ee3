"""Pool the measurements of the teacher beside the timing reference.

Other programs on the same host slow the teacher down for tens of seconds. Measurements within that time share an error, so
that their number alone would promise too narrow an interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from autocompress.core.composed_speedup import Ratio

MIN_SECONDS_APART = 10.0  # measurements closer than this add little
MOST_SHARE = 0.05  # of the time, for measurements of the teacher
MAX_RECORDS = 400  # of more, the last ones count
CORRELATED_SECONDS = 30.0  # measurements further apart count as independent
ASSUMED_SPREAD, ASSUMED_FREEDOM = (
    0.05,
    2.0,
)  # s.d. of one measurement before any is known, and the weight of this assumption


@dataclass(frozen=True)
class TeacherRecords:
    """A file with one measurement a line: the time (s), the logarithm of teacher ÷ timing reference, its duration (s)."""

    file: Path

    def add(self, now: float, log_ratio: float, seconds: float) -> None:
        """Add a measurement that took `seconds`."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="ascii") as file:
            file.write(f"{now:.3f} {log_ratio:.6f} {seconds:.3f}\n")  # in one write, since several workers append

    def is_due(self, now: float) -> bool:
        """Return whether the last measurement is so long ago that another one is worth its time."""
        records = self.read()
        if not len(records):
            return True
        last, _, seconds = records[-1]
        return bool(now - last >= max(MIN_SECONDS_APART, seconds / MOST_SHARE))

    def pool(self) -> tuple[Ratio, int]:
        """Return the pooled ratio and the number of measurements; ValueError where there is none."""
        records = self.read()
        return pool(records[:, 0], records[:, 1]), len(records)

    def read(self) -> np.ndarray:
        """Return the measurements (records, 3)."""
        if not self.file.exists():
            return np.empty((0, 3))
        lines = self.file.read_text(encoding="ascii").splitlines()[-MAX_RECORDS:]
        return np.array([[float(value) for value in line.split()] for line in lines]).reshape(-1, 3)


def pool(times: np.ndarray, logs: np.ndarray) -> Ratio:
    """Return the mean of measurements (records,) taken at some times (s), with the 95 % interval of the mean.

    Two measurements t seconds apart count as correlated by 1 − t ÷ 30; this gives the number of independent ones. Their
    standard deviation is estimated together with an assumption, because a few close measurements do not show it.
    """
    if not len(logs):
        raise ValueError("the teacher was not measured beside the timing reference")
    correlations = np.clip(1 - np.abs(times[:, None] - times) / CORRELATED_SECONDS, 0, 1)
    count = len(logs)
    independent = count**2 / float(correlations.sum())
    freedom = independent - 1
    observed = float(((logs - logs.mean()) ** 2).sum()) * independent / count  # ≈ freedom × variance
    variance = (ASSUMED_FREEDOM * ASSUMED_SPREAD**2 + observed) / (ASSUMED_FREEDOM + freedom)
    half_width = t_quantile(ASSUMED_FREEDOM + freedom) * sqrt(variance / independent)
    return Ratio(log=float(logs.mean()), half_width=half_width)


def t_quantile(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t for 2 or more degrees of freedom, by its expansion (error below 4 %)."""
    return 1.96 + 2.372 / freedom + 2.823 / freedom**2 + 2.556 / freedom**3
