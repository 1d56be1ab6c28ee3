"""Compute the share of each objective's variance that a decision explains."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import numpy as np

from autocompress.core.trial_row import TrialRow

FEWEST_TRIALS = 8


def explained_variance(rows: Sequence[TrialRow], objectives: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for each objective the share of its variance that each decision explains alone, the largest first.

    Correlation ratio η² = variance of the groups' means ÷ variance over the complete trials: a first-order Sobol index where
    values were drawn independently. Latency and size are on a logarithmic scale. Decisions with one value are left out.
    Empty with under 8 trials.
    """
    complete = complete_rows(rows)
    if len(complete) < FEWEST_TRIALS:
        return {}
    by_objective: dict[str, dict[str, float]] = {}
    for objective in objectives:
        values = np.array([_scaled(row, objective) for row in complete])
        total = float(values.var())
        shares = {}
        for decision in complete[0].recipe:
            settings = [str(row.recipe[decision]) for row in complete]
            if len(set(settings)) > 1 and total > 0:
                groups = [values[[setting == value for setting in settings]] for value in set(settings)]
                between = sum(len(group) * (group.mean() - values.mean()) ** 2 for group in groups) / len(values)
                shares[decision] = float(between / total)
        by_objective[objective] = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return by_objective


def complete_rows(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the complete rows with a quality, without the teacher."""
    return [row for row in rows if row.trial != 0 and row.state == "complete" and row.quality is not None]


def _scaled(row: TrialRow, objective: str) -> float:
    value = float(getattr(row, objective))
    return value if objective == "quality" else log2(max(value, 1e-9))
