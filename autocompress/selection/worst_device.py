"""One row per trial for several devices, with the numbers of the worst device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from autocompress.core.trial_row import TrialRow

WORST = "all"  # the name of this view among the names of devices


def combine_worst(devices: Sequence[Sequence[TrialRow]]) -> list[TrialRow]:
    """Combine the rows of one study on several devices: the largest drop, the smallest speed-up, the largest memory.

    Milliseconds of two devices are not comparable, so `latency_ms` is the first device's teacher latency ÷ the smallest
    speed-up. A trial that was not measured on all devices has no numbers. The teacher has the first device's numbers.
    """
    first = devices[0]
    teacher = next((row for row in first if row.trial == 0), None)
    return [
        replace(
            first[index] if first[index].trial == 0 else _combine_trial([rows[index] for rows in devices], teacher),
            device=WORST,
        )
        for index in range(len(first))
    ]


def _combine_trial(rows: Sequence[TrialRow], teacher: TrialRow | None) -> TrialRow:
    row = rows[0]
    if teacher is None or teacher.latency_ms is None or teacher.quality is None:
        return row
    slowest = min(rows, key=lambda row: row.speedup or 0.0)
    worst = max(rows, key=lambda row: float("inf") if row.drop is None else row.drop)
    if not slowest.speedup or worst.drop is None:
        return TrialRow(
            trial=row.trial, state=row.state, reason=row.reason, recipe=row.recipe, rung=row.rung, heads=row.heads,
            neurons=row.neurons, seconds=row.seconds, sha256=row.sha256, size_mb=row.size_mb, compression=row.compression,
        )  # fmt: skip
    latency, p95, interval = teacher.latency_ms / slowest.speedup, None, None
    if slowest.latency_ms and slowest.latency_interval:
        low, high = slowest.latency_interval
        interval = latency * low / slowest.latency_ms, latency * high / slowest.latency_ms
    if slowest.latency_ms and slowest.latency_p95_ms:
        p95 = latency * slowest.latency_p95_ms / slowest.latency_ms
    tested = [row for row in rows if row.test_drop is not None]
    test = max(tested, key=lambda row: row.test_drop or 0.0) if len(tested) == len(rows) else None
    reference = teacher.test_quality
    return replace(
        row,
        quality=teacher.quality - worst.drop,
        drop=worst.drop,
        drop_interval=worst.drop_interval,
        disagreement=worst.disagreement,
        soft_drop=worst.soft_drop,
        soft_drop_interval=worst.soft_drop_interval,
        test_drop=test.test_drop if test else None,
        test_drop_interval=test.test_drop_interval if test else None,
        test_quality=reference - (test.test_drop or 0.0) if test and reference is not None else None,
        latency_ms=latency,
        latency_interval=interval,
        latency_p95_ms=p95,
        speedup=slowest.speedup,
        speedup_interval=slowest.speedup_interval,
        memory_mb=_largest(row.memory_mb for row in rows),
        cold_ms=_largest(row.cold_ms for row in rows),
        start_ms=_largest(row.start_ms for row in rows),
        text_ms=_largest(row.text_ms for row in rows),
        download_mb=_largest(row.download_mb for row in rows),
        throughput=min((row.throughput for row in rows if row.throughput is not None), default=None),
    )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
