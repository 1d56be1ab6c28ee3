"""The comparison of a candidate with the teacher on the agreement rows: texts that no model learned from."""

from __future__ import annotations

from dataclasses import dataclass

AGREEMENT = "agreement"  # the name of these rows as a split
FIRST_ROWS = 1000  # on which candidates are compared first; each further part doubles the rows


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How often, and how deeply, a candidate's predictions depart from the teacher's."""

    rows: int
    disagreement: float
    """Fraction of the rows on which both predictions differ."""
    confidence_drop: float
    """Mean of the teacher's calibrated probability of its own prediction minus that of the candidate's: the drop, if these
    probabilities were true."""
    drop: float | None = None
    """The soft drop on these rows, where their labels are known."""
    drop_deviation: float | None = None
    """Standard deviation of `drop`."""


def part_bounds(rows: int) -> list[tuple[int, int]]:
    """Return first and last row (exclusive) of each part: the first 1,000 rows, then each time as many as before."""
    bounds, end = list[tuple[int, int]](), 0
    while end < rows:
        start, end = end, min(rows, max(FIRST_ROWS, 2 * end))
        bounds.append((start, end))
    return bounds
