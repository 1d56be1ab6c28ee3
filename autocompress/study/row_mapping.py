"""Between our tables and the values that people and the search work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from autocompress.core.measurement import Interval, Latency, Measurement, Quality
from autocompress.core.recipe import DECISIONS, Recipe
from autocompress.core.trial_row import Outcome, TrialRow
from autocompress.study.tables import CandidateRow, MeasurementColumns, TeacherRow

NEEDED = ("quality", "latency_ms", "size_mb")  # of a complete trial, whatever the objectives


@dataclass(frozen=True, kw_only=True)
class TeacherRecord:
    """What every other trial is measured against."""

    sha256: str | None
    latency_ms: float
    size_mb: float
    quality: float | None
    examples: int | None  # rows of the validation split


def teacher_record(row: TeacherRow) -> TeacherRecord:
    """The teacher out of its row."""
    return TeacherRecord(
        sha256=row.sha256, latency_ms=row.latency_ms, size_mb=row.size_mb, quality=row.quality, examples=row.examples
    )


def teacher_of(outcome: Outcome) -> TeacherRecord:
    """The teacher out of the outcome of trial 0, which must be complete."""
    seen = outcome.measurement
    if outcome.state != "complete" or seen is None:
        raise ValueError(f"the teacher must be complete and measured, but is {outcome.state}: {outcome.reason}")
    quality = seen.quality
    return TeacherRecord(
        sha256=outcome.sha256,
        latency_ms=seen.latency.p50_ms,
        size_mb=seen.size_mb,
        quality=quality.quality if quality else None,
        examples=quality.examples if quality else None,
    )


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """A stored recipe; a decision that is newer than the row is neutral, one that is gone is left out."""
    return Recipe.from_dict({name: value for name, value in values.items() if name in DECISIONS})


def result_of(
    trial: int, recipe: Recipe, outcome: Outcome, teacher: TeacherRecord | None, test: Quality | None = None
) -> TrialRow:
    """The row of a trial under the names of the JSON contract; on_front is left false.

    `latency_ms` is the study's teacher latency ÷ speedup, p95 scaled alike, so that trials an hour apart compare.
    """
    row = TrialRow(
        trial=trial,
        state=outcome.state,
        reason=outcome.reason,
        recipe=recipe,
        seconds=finite(outcome.seconds),
        sha256=outcome.sha256,
    )
    if outcome.measurement is not None:
        row = _with_measurement(row, outcome.measurement, teacher)
    if test is not None:
        row = replace(
            row,
            test_quality=finite(test.quality),
            test_drop=finite(test.drop),
            test_drop_interval=_pair(test.drop_interval),
        )
    return row


def checked(outcome: Outcome, row: TrialRow) -> Outcome:
    """The outcome, or a failure that says which number of a complete trial is missing or not finite."""
    missing = [name for name in NEEDED if getattr(row, name) is None] if outcome.state == "complete" else []
    if not missing:
        return outcome
    return replace(outcome, state="failed", reason=f"{' and '.join(missing)} came out missing or not finite")


def measurement_values(measurement: Measurement) -> dict[str, Any]:
    """Columns of the row of a trial's own measurement."""
    seen = measurement.latency
    return {
        **(quality_values(measurement.quality) if measurement.quality else {}),
        "split": "validation" if measurement.quality else "price",
        "p50_ms": finite(seen.p50_ms),
        "p95_ms": finite(seen.p95_ms),
        "reference_p50_ms": finite(seen.reference_p50_ms),
        "speedup": finite(seen.speedup),
        "speedup_low": finite(seen.speedup_interval.low),
        "speedup_high": finite(seen.speedup_interval.high),
        "blocks": seen.blocks,
        "size_mb": finite(measurement.size_mb),
        "memory_mb": finite(measurement.memory_mb),
        "cold_ms": finite(seen.cold_ms),
        "throughput": finite(seen.throughput),
        "start_ms": finite(measurement.start_ms),
        "conditions": plain(measurement.conditions),
    }


def quality_values(quality: Quality) -> dict[str, Any]:
    """Columns of the quality on one split."""
    return {
        "split": quality.split,
        "quality": finite(quality.quality),
        "drop": finite(quality.drop),
        "drop_low": finite(quality.drop_interval.low),
        "drop_high": finite(quality.drop_interval.high),
        "disagreement": finite(quality.disagreement),
        "soft_drop": finite(quality.soft_drop),
        "soft_drop_low": finite(quality.soft_drop_interval.low) if quality.soft_drop_interval else None,
        "soft_drop_high": finite(quality.soft_drop_interval.high) if quality.soft_drop_interval else None,
        "examples": quality.examples,
        "predictions_sha256": quality.predictions_sha256,
    }


def outcome_of(
    candidate: CandidateRow,
    sha256: str | None,
    seen: MeasurementColumns | None,
    other_devices: Mapping[str, MeasurementColumns] | None = None,
) -> Outcome:
    """The outcome as it was told. Numbers that were not finite come back as NaN, and are null in a Result."""
    return Outcome(
        state=candidate.state,
        reason=candidate.reason,
        measurement=measurement_of(seen) if seen is not None else None,
        other_devices={name: measurement_of(other) for name, other in (other_devices or {}).items()},
        sha256=sha256,
        seconds=_number(candidate.seconds),
        stages=dict(candidate.stages),
        facts=dict(candidate.facts),
    )


def quality_of(row: MeasurementColumns) -> Quality | None:
    """The quality in a row, or null where only the price is known."""
    if row.examples is None:
        return None
    return Quality(
        split=row.split,
        quality=_number(row.quality),
        drop=_number(row.drop),
        drop_interval=Interval(low=_number(row.drop_low), high=_number(row.drop_high)),
        disagreement=_number(row.disagreement),
        soft_drop=row.soft_drop,
        soft_drop_interval=_known_interval(row.soft_drop_low, row.soft_drop_high),
        examples=row.examples,
        predictions_sha256=row.predictions_sha256 or "",
    )


def plain(value: Any) -> Any:
    """Plain JSON types: numpy's numbers and arrays unwrapped, paths as text, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if isinstance(value, (bool, int, str, type(None))) else str(value)


def finite(value: float | None) -> float | None:
    """The number as a Python float, or null where it is none."""
    return float(value) if value is not None and isfinite(value) else None


def _with_measurement(row: TrialRow, seen: Measurement, teacher: TeacherRecord | None) -> TrialRow:
    speedup = 1.0 if row.trial == 0 else finite(seen.latency.speedup)
    latency = teacher.latency_ms / speedup if teacher and speedup else None
    p50, p95 = finite(seen.latency.p50_ms), finite(seen.latency.p95_ms)
    size = finite(seen.size_mb)
    row = replace(
        row,
        latency_ms=latency,
        latency_p95_ms=latency * p95 / p50 if latency and p50 and p95 else None,
        speedup=speedup,
        speedup_interval=_pair(seen.latency.speedup_interval),
        size_mb=size,
        compression=teacher.size_mb / size if teacher and size else None,
        memory_mb=finite(seen.memory_mb),
        cold_ms=finite(seen.latency.cold_ms),
        throughput=finite(seen.latency.throughput),
        start_ms=finite(seen.start_ms),
    )
    if seen.quality is None:
        return row
    return replace(
        row,
        quality=finite(seen.quality.quality),
        drop=finite(seen.quality.drop),
        drop_interval=_pair(seen.quality.drop_interval),
        disagreement=finite(seen.quality.disagreement),
        soft_drop=finite(seen.quality.soft_drop),
        soft_drop_interval=_pair(seen.quality.soft_drop_interval) if seen.quality.soft_drop_interval else None,
    )


def _pair(interval: Interval) -> tuple[float, float] | None:
    low, high = finite(interval.low), finite(interval.high)
    return None if low is None or high is None else (low, high)


def _known_interval(low: float | None, high: float | None) -> Interval | None:
    return None if low is None or high is None else Interval(low=low, high=high)


def measurement_of(row: MeasurementColumns) -> Measurement:
    """A measurement out of its row."""
    return Measurement(
        quality=quality_of(row),
        latency=Latency(
            p50_ms=_number(row.p50_ms),
            p95_ms=_number(row.p95_ms),
            reference_p50_ms=_number(row.reference_p50_ms),
            speedup=_number(row.speedup),
            speedup_interval=Interval(low=_number(row.speedup_low), high=_number(row.speedup_high)),
            blocks=row.blocks or 0,
            noise=(row.conditions or {}).get("noise"),
            cold_ms=row.cold_ms,
            throughput=row.throughput,
        ),
        size_mb=_number(row.size_mb),
        memory_mb=row.memory_mb,
        start_ms=row.start_ms,
        sha256=getattr(row, "sha256", None),
        conditions=dict(row.conditions or {}),
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
