"""Which models of a front the measurements cannot tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, inf, log, sqrt

from autocompress.core.trial_row import TrialRow
from autocompress.selection.expected_drop import overlap

SIZES_ALIKE = 0.01  # of the larger one: nobody chooses by less


def ties(rows: Sequence[TrialRow]) -> dict[int, tuple[int, ...]]:
    """trial -> the trials that it is tied with: neither of the two is surely better in anything. Only those that have any.

    Speed-ups differ surely where the 95 % interval of their ratio leaves out 1, drops where that of their difference leaves
    out 0 (candidates are measured on the same rows, and lucky together: see `expectation.overlap`), sizes by more than 1 %.
    """
    found = {
        row.trial: tuple(other.trial for other in rows if other.trial != row.trial and _are_tied(row, other))
        for row in rows
    }
    return {trial: others for trial, others in found.items() if others}


def _are_tied(one: TrialRow, other: TrialRow) -> bool:
    return _alike_in_speed(one, other) and _alike_in_drop(one, other) and _alike_in_size(one, other)


def _alike_in_speed(one: TrialRow, other: TrialRow) -> bool:
    if not (one.speedup and other.speedup and one.speedup_interval and other.speedup_interval):
        return False
    halves = [
        log(row.speedup_interval[1] / row.speedup_interval[0]) / 2 for row in (one, other) if row.speedup_interval
    ]
    return abs(log(one.speedup / other.speedup)) <= hypot(*halves)


def _alike_in_drop(one: TrialRow, other: TrialRow) -> bool:
    """By the drop with less luck in it, where both have it."""
    soft = one.soft_drop is not None and other.soft_drop is not None
    drops = [row.soft_drop if soft else row.drop for row in (one, other)]
    intervals = [row.soft_drop_interval if soft else row.drop_interval for row in (one, other)]
    halves = [(interval[1] - interval[0]) / 2 if interval else inf for interval in intervals]
    if drops[0] is None or drops[1] is None or inf in halves:
        return False
    together = overlap(one.disagreement or 0.0, other.disagreement or 0.0)
    variance = halves[0] ** 2 + halves[1] ** 2 - 2 * together * halves[0] * halves[1]
    return abs(drops[0] - drops[1]) <= sqrt(variance)


def _alike_in_size(one: TrialRow, other: TrialRow) -> bool:
    sizes = one.size_mb or 0.0, other.size_mb or 0.0
    return abs(sizes[0] - sizes[1]) <= SIZES_ALIKE * max(sizes)
