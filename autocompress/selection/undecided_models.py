"""The models to compare with the teacher on agreement rows: all that may be worth choosing, and on more rows the undecided."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from autocompress.core.agreement import part_bounds
from autocompress.core.trial_row import TrialRow
from autocompress.selection.drop_estimate import ExpectedDrop, expected_drop

USUAL_BOUND = 0.01  # `max_drop` where a study sets none: what most users ask for
WIDEST_BOUND = 0.03  # users may ask for more than the study's `max_drop` later
CERTAIN = 2.0  # standard deviations
FIRST_MS = 3000.0  # that the first comparison of a model may take: small models read all rows in it
UNDECIDED = 1.96


def next_comparisons(
    rows: Sequence[TrialRow],
    examples: int | None,
    agreement_rows: int,
    max_drop: float | None,
    without: Collection[str] = (),
) -> list[tuple[TrialRow, int]]:
    """Return the models to compare next, the fastest first, each with the number of parts of the agreement rows.

    First every model that may be worth choosing is compared on as many parts as it reads in three seconds, at least on one: its
    drop may be within 3 points (or `max_drop`, if larger), and no other model is certainly better and at most as slow and
    large. Then models whose expected drop is within 1.96 standard deviations of `max_drop` get the next part, until they are
    used up. Equal artifacts are compared once; those of `without` (sha256) not at all.
    """
    if not agreement_rows:
        return []
    bounds = [end for _, end in part_bounds(agreement_rows)]
    estimates = expected_drop(rows, examples)
    models = {
        row.sha256: row
        for row in sorted(rows, key=lambda row: (row.agreement is not None, -row.trial))
        if row.trial in estimates
        and row.sha256 is not None
        and row.sha256 not in without
        and row.latency_ms is not None
    }
    bound = USUAL_BOUND if max_drop is None else max_drop
    first, further = [], []
    for row in models.values():
        estimate, compared = estimates[row.trial], row.agreement
        if compared is None and _is_promising(row, list(models.values()), estimates, max(bound, WIDEST_BOUND)):
            first.append((row, max(1, sum(end * (row.latency_ms or 0.0) <= FIRST_MS for end in bounds))))
        elif compared is not None and abs(estimate.drop - bound) < UNDECIDED * estimate.spread:
            done = sum(end <= compared.rows for end in bounds)
            further += [(row, done + 1)] if done < len(bounds) else []
    least = min((parts for _, parts in further), default=0)
    batch = first or [(row, parts) for row, parts in further if parts == least]
    return sorted(batch, key=lambda entry: (entry[0].latency_ms or 0.0, entry[0].trial))


def _is_promising(row: TrialRow, models: Sequence[TrialRow], estimates: dict[int, ExpectedDrop], bound: float) -> bool:
    estimate = estimates[row.trial]
    least = estimate.drop - CERTAIN * estimate.spread
    return least <= bound and not any(
        (other.latency_ms or 0.0) <= (row.latency_ms or 0.0)
        and (other.size_mb or 0.0) <= (row.size_mb or 0.0)
        and estimates[other.trial].drop + CERTAIN * estimates[other.trial].spread < least
        for other in models
    )
