"""Rows of invented trials, and hypothesis strategies for them: what the tests of `selection` share."""

from __future__ import annotations

from hypothesis import strategies as st

from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.selection import Reference


def row(trial: int, drop: float = 0.0, latency: float = 1.0, size: float = 10.0, **fields: object) -> TrialRow:
    """Return a complete trial with these numbers."""
    values = {"state": "complete", "reason": None, "sha256": f"sha {trial}", "recipe": Recipe(), **fields}
    return TrialRow(trial=trial, quality=0.9 - drop, drop=drop, latency_ms=latency, size_mb=size, **values)  # type: ignore[arg-type]


TEACHER = row(0, latency=8.0, size=80.0)
CORNER = Reference(drop_points=10.0, latency_ms=8.0, size_mb=80.0)
drops = st.sampled_from([0.0, 0.01, 0.02, 0.03, 0.05])
prices = st.sampled_from([1.0, 2.0, 4.0, 8.0])
rows_of_a_study = st.lists(st.tuples(drops, prices, prices, st.sampled_from("abcdefgh")), max_size=12).map(
    lambda values: [row(n, d, la, si, sha256=sha) for n, (d, la, si, sha) in enumerate(values, start=1)]
)
