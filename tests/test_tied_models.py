"""Models that the measurements cannot distinguish."""

from __future__ import annotations

from dataclasses import replace

from autocompress.core.trial_row import TrialRow
from autocompress.selection import find_ties
from tests.selection_rows import row


def measured(trial: int, speedup: float, drop: float, size: float = 10.0, spread: float = 0.02) -> TrialRow:
    """Return a row whose speed-up is known to a few percent, and whose drop to a point."""
    return replace(
        row(trial, drop, 4.0 / speedup, size),
        speedup=speedup,
        speedup_interval=(0.5 * speedup, 2 * speedup),  # an error that all trials of a study share decides nothing
        latency_interval=(4.0 / speedup * (1 - spread), 4.0 / speedup * (1 + spread)),
        drop_interval=(drop - 0.01, drop + 0.01),
        disagreement=0.05,
    )


def test_find_ties_returns_models_with_overlapping_intervals() -> None:
    rows = [
        measured(1, 10.0, 0.010),
        measured(2, 10.2, 0.015),  # 2 % faster, half a point worse: neither is significant
        measured(3, 11.0, 0.012),  # significantly faster than 1 and 2
        measured(4, 10.1, 0.045),  # significantly worse
        measured(5, 10.1, 0.012, size=9.5),  # smaller: sizes are exact
        measured(6, 10.1, 0.012, size=10.05),
    ]
    assert find_ties(rows) == {1: (2, 6), 2: (1, 6), 6: (1, 2)}


def test_find_ties_uses_the_correlation_of_drops_on_the_same_rows() -> None:
    """The sampling errors of two candidates with the same disagreement are correlated."""
    apart = [measured(1, 10.0, 0.0), measured(2, 10.0, 0.012)]
    assert find_ties(apart) == {}  # 1.2 points, of ± 1.41 were they independent, of ± 1.0 as they are
    assert find_ties([replace(row, disagreement=None) for row in apart]) == {1: (2,), 2: (1,)}


def test_find_ties_ignores_unmeasured_models() -> None:
    assert find_ties([row(1), row(2)]) == {}
    assert find_ties([]) == {}
