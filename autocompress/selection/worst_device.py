"""One row per trial for several devices: what it is worth on the worst of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from autocompress.core.trial_row import TrialRow

WORST = "all"  # the name of this view among the names of devices


def worst(devices: Sequence[Sequence[TrialRow]]) -> list[TrialRow]:
    """The rows of one study on several devices as one: the largest drop, the smallest speed-up, the largest memory.

    Milliseconds of two devices do not compare, so that `latency_ms` is the first device's teacher latency ÷ the smallest
    speed-up. A trial that was not measured on all of them has no numbers. The teacher is as on the first device.
    """
    first = devices[0]
    teacher = next((row for row in first if row.trial == 0), None)
    return [
        replace(
            first[place] if first[place].trial == 0 else _worst([rows[place] for rows in devices], teacher),
            device=WORST,
        )
        for place in range(len(first))
    ]


def _worst(rows: Sequence[TrialRow], teacher: TrialRow | None) -> TrialRow:
    row = rows[0]
    if teacher is None or teacher.latency_ms is None or teacher.quality is None:
        return row
    slow = min(rows, key=lambda one: one.speedup or 0.0)
    bad = max(rows, key=lambda one: float("inf") if one.drop is None else one.drop)
    if not slow.speedup or bad.drop is None:
        return TrialRow(
            trial=row.trial, state=row.state, reason=row.reason, recipe=row.recipe, rung=row.rung, heads=row.heads,
            neurons=row.neurons, seconds=row.seconds, sha256=row.sha256, size_mb=row.size_mb, compression=row.compression,
        )  # fmt: skip
    latency, p95 = teacher.latency_ms / slow.speedup, None
    if slow.latency_ms and slow.latency_p95_ms:
        p95 = latency * slow.latency_p95_ms / slow.latency_ms
    tested = [one for one in rows if one.test_drop is not None]
    test = max(tested, key=lambda one: one.test_drop or 0.0) if len(tested) == len(rows) else None
    reference = teacher.test_quality
    return replace(
        row,
        quality=teacher.quality - bad.drop,
        drop=bad.drop,
        drop_interval=bad.drop_interval,
        disagreement=bad.disagreement,
        soft_drop=bad.soft_drop,
        soft_drop_interval=bad.soft_drop_interval,
        test_drop=test.test_drop if test else None,
        test_drop_interval=test.test_drop_interval if test else None,
        test_quality=reference - (test.test_drop or 0.0) if test and reference is not None else None,
        latency_ms=latency,
        latency_p95_ms=p95,
        speedup=slow.speedup,
        speedup_interval=slow.speedup_interval,
        memory_mb=_most(one.memory_mb for one in rows),
        cold_ms=_most(one.cold_ms for one in rows),
        start_ms=_most(one.start_ms for one in rows),
        throughput=min((one.throughput for one in rows if one.throughput is not None), default=None),
    )


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
