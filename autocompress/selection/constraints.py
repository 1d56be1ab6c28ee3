"""Constraints on a model, and by how much it violates them: the same numbers for picking, sampling and the dashboard."""

from __future__ import annotations

from collections.abc import Mapping

from autocompress.core.errors import unknown
from autocompress.core.trial_row import TrialRow

BOUNDED = {  # constraint -> bounded field
    "max_drop": "drop",
    "max_latency_ms": "latency_ms",
    "max_size_mb": "size_mb",
    "max_download_mb": "download_mb",
}
LEAST_SCALE = 0.01  # of drop: violations of a max_drop of 0 are measured in points, too
ROUNDING = 1e-9  # 0.92 − 0.90 is 0.020000000000000018, but counts as 2 points

Constraints = Mapping[str, float | None]  # `{"max_drop": 0.02, …}`; absent or null: not constrained


def violations(row: TrialRow, constraints: Constraints) -> dict[str, float]:
    """Return `(value − bound) ÷ bound` of every constraint that is set, sorted by name; above 0 is a violation.

    Violations are relative, so that all constraints weigh alike for a sampler; the scale of `max_drop` is at least one point.
    A value that was not measured violates nothing: 0. UsageError for an unknown constraint.
    """
    relative = {}
    for name, bound in sorted(constraints.items()):
        if name not in BOUNDED:
            raise unknown("constraint", name, tuple(BOUNDED))
        if bound is not None:
            value = getattr(row, BOUNDED[name])
            scale = max(bound, LEAST_SCALE) if name == "max_drop" else bound
            relative[name] = 0.0 if value is None else _rounded((value - bound) / scale)
    return relative


def broken(row: TrialRow, constraints: Constraints) -> dict[str, float]:
    """Return the constraints that a row violates, with their violations."""
    return {name: value for name, value in violations(row, constraints).items() if value > 0}


def _rounded(value: float) -> float:
    return 0.0 if abs(value) < ROUNDING else value
