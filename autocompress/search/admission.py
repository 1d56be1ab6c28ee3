"""Choose the limits that a new candidate must satisfy before it is built or trained."""

from __future__ import annotations

from autocompress.config import StudyPlan
from autocompress.search.jobs import AdmissionLimits
from autocompress.search.known_trials import KnownTrials
from autocompress.selection import expected_drop
from autocompress.selection.latency_model import LatencyTable


def admission_limits(plan: StudyPlan, known: KnownTrials) -> AdmissionLimits:
    """Return the limits of a new candidate. With rungs only a predicted latency stops it: rung 0 measures it untrained."""
    rows, limits, engine = list(known.rows.values()), plan.constraints, plan.engine
    expected = {} if engine.rungs else expected_drop(rows)
    predicts_latency = engine.latency_table and limits.max_latency_ms is not None
    return AdmissionLimits(
        max_latency_ms=limits.max_latency_ms,
        max_size_mb=limits.max_size_mb,
        teacher_latency_ms=known.teacher.latency_ms,
        unbeaten=tuple(
            (row.speedup, row.size_mb)
            for row in rows
            if row.speedup and row.size_mb and row.trial in expected and expected[row.trial].drop <= 0
        ),
        latency_model=LatencyTable.fit(rows) if predicts_latency else None,
        measure_untrained=not engine.rungs,
    )
