"""Early stopping: when the front's hypervolume has stopped growing."""

from __future__ import annotations

from autocompress.selection.early_stopping import HypervolumeHistory


def test_stalled_reports_a_hypervolume_that_stops_growing() -> None:
    steady, flat = HypervolumeHistory(), HypervolumeHistory()
    for trial in range(100):
        steady.add(10.0 * trial, 1.0 + 0.01 * trial)
        flat.add(10.0 * trial, 1.0 + 0.01 * min(trial, 40))
    assert steady.stalled(no_expected_growth) is None
    assert flat.stalled(no_expected_growth) is not None
    assert "grew by 0.0 %" in (flat.stalled(no_expected_growth) or "")
    assert flat.stalled(lambda: 0.1) is None  # a known candidate would add to it
    assert "brought 25.1 %" in (steady.forecast() or "")  # 0.50 of 1.99
    young = HypervolumeHistory()
    for trial in range(29):
        young.add(100.0 * trial, 1.0)
    assert young.stalled(no_expected_growth) is None  # too few trials to decide
    assert young.forecast() is None


def test_brought_returns_the_last_trials_share_of_the_growth() -> None:
    history = HypervolumeHistory()
    assert history.last_growth() == 0.0
    shares = []
    for hypervolume in (0.0, 2.0, 2.0, 2.5):
        history.add(1.0, hypervolume)
        shares.append(history.last_growth())
    assert shares == [0.0, 1.0, 0.0, 0.2]


def no_expected_growth() -> float:
    return 0.0
