"""Compute the hypervolume of a front over the time of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autocompress.core.trial_row import TrialRow
from autocompress.selection.constraints import Constraints
from autocompress.selection.dominance import Reference, hypervolume, on_front


def growth(
    rows: Sequence[TrialRow],
    ended: Mapping[int, float],
    objectives: Sequence[str],
    constraints: Constraints,
    reference: Reference | None,
) -> list[tuple[float, float]]:
    """Return (seconds, hypervolume) after each trial that changed the hypervolume.

    `ended`: trial -> seconds of the study when that trial ended. Empty without a reference.
    """
    if reference is None:
        return []
    by_trial, members = {row.trial: row for row in rows}, [row for row in rows if row.trial == 0]
    steps: list[tuple[float, float]] = []
    for trial in sorted((trial for trial in ended if trial and trial in by_trial), key=ended.__getitem__):
        members.append(by_trial[trial])
        front = on_front(members, objectives, constraints)
        members = [row for row in members if row.trial in front or row.trial == 0]
        value = hypervolume(members, reference)
        if not steps or value != steps[-1][1]:
            steps.append((ended[trial], value))
    return steps
