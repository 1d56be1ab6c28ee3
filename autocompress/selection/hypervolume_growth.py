"""How a front grew."""

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
    """The hypervolume after each trial that changed it, with the seconds of the study when that trial ended (`ended`)."""
    if reference is None:
        return []
    known, so_far = {row.trial: row for row in rows}, [row for row in rows if row.trial == 0]
    found: list[tuple[float, float]] = []
    for trial in sorted((trial for trial in ended if trial and trial in known), key=ended.__getitem__):
        so_far.append(known[trial])
        front = on_front(so_far, objectives, constraints)
        so_far = [row for row in so_far if row.trial in front or row.trial == 0]
        value = hypervolume(so_far, reference)
        if not found or value != found[-1][1]:
            found.append((ended[trial], value))
    return found
