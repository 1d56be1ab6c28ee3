"""Find candidates that are significantly better than their teacher: the fault is the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

from autocompress.core.trial_row import TrialRow

SPREADS = (
    3.3  # standard errors: among 100 candidates that are as good as the teacher, one is as far off in 5 % of studies
)
WIDTH = 2 * 1.96  # of a 95 % interval, in standard errors


def beating_trials(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the candidates whose quality on validation is significantly above the teacher's, the best first."""
    better = [row for row in rows if row.trial != 0 and row.state == "complete" and _is_better(row)]
    return sorted(better, key=lambda row: (row.drop or 0.0, row.trial))


def _is_better(row: TrialRow) -> bool:
    if row.drop is None or row.drop_interval is None or row.drop >= 0:
        return False
    spread = (row.drop_interval[1] - row.drop_interval[0]) / WIDTH
    return spread > 0 and -row.drop > SPREADS * spread
