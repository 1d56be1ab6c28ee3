"""Find the models of a front that the measurements cannot distinguish."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, inf, log, sqrt

from autocompress.core.trial_row import TrialRow
from autocompress.selection.drop_estimate import noise_correlation

SAME_SIZE = 0.01  # of the larger one: a smaller difference decides nothing


def find_ties(rows: Sequence[TrialRow]) -> dict[int, tuple[int, ...]]:
    """Return trial -> the trials that it is tied with; trials without ties are left out.

    Two trials are tied where neither is significantly better in anything: the 95 % interval of the ratio of their latencies
    contains 1, that of the difference of their drops contains 0 (with correlated noise, since candidates are measured on the
    same rows: see `drop_estimate.noise_correlation`), and their sizes differ by at most 1 %.
    """
    tied = {
        row.trial: tuple(peer.trial for peer in rows if peer.trial != row.trial and _are_tied(row, peer))
        for row in rows
    }
    return {trial: peers for trial, peers in tied.items() if peers}


def _are_tied(a: TrialRow, b: TrialRow) -> bool:
    return _have_same_speed(a, b) and _have_same_drop(a, b) and _have_same_size(a, b)


def _have_same_speed(a: TrialRow, b: TrialRow) -> bool:
    if not (a.latency_ms and b.latency_ms and a.latency_interval and b.latency_interval):
        return False
    halves = [log(interval[1] / interval[0]) / 2 for interval in (a.latency_interval, b.latency_interval)]
    return abs(log(a.latency_ms / b.latency_ms)) <= hypot(*halves)


def _have_same_drop(a: TrialRow, b: TrialRow) -> bool:
    """Compare by the soft drop, which has the lower variance, where both rows have it."""
    soft = a.soft_drop is not None and b.soft_drop is not None
    drops = [row.soft_drop if soft else row.drop for row in (a, b)]
    intervals = [row.soft_drop_interval if soft else row.drop_interval for row in (a, b)]
    halves = [(interval[1] - interval[0]) / 2 if interval else inf for interval in intervals]
    if drops[0] is None or drops[1] is None or inf in halves:
        return False
    correlation = noise_correlation(a.disagreement or 0.0, b.disagreement or 0.0)
    variance = halves[0] ** 2 + halves[1] ** 2 - 2 * correlation * halves[0] * halves[1]
    return abs(drops[0] - drops[1]) <= sqrt(variance)


def _have_same_size(a: TrialRow, b: TrialRow) -> bool:
    sizes = a.size_mb or 0.0, b.size_mb or 0.0
    return abs(sizes[0] - sizes[1]) <= SAME_SIZE * max(sizes)
