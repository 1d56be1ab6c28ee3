"""Conversions between the rows of our tables and the values of the search: outcomes, measurements, trial rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, isfinite

from autocompress.core.composed_speedup import ComposedSpeedup, Ratio, teacher_latency_ms
from autocompress.core.json_types import Json
from autocompress.core.measurement import Interval, Latency, Measurement, Quality
from autocompress.core.recipe import Recipe
from autocompress.core.scalar import Scalar
from autocompress.core.trial_row import Outcome, TrialRow
from autocompress.study.tables import LATER_NUMBERS, CandidateRow, MeasurementColumns, TeacherRow

LATER = ("text_ms", "download_mb")  # numbers without a column of their own
CONFIDENCE = "confidence_drop"  # another one, of the quality
NEEDED = ("quality", "latency_ms", "size_mb")  # of a complete trial, whatever the objectives


@dataclass(frozen=True, kw_only=True)
class TeacherRecord:
    """The teacher's numbers, which every trial is compared with."""

    sha256: str | None
    latency_ms: float
    size_mb: float
    quality: float | None
    examples: int | None  # rows of the validation split


def teacher_record(row: TeacherRow) -> TeacherRecord:
    """Return the teacher's numbers from its row."""
    return TeacherRecord(
        sha256=row.sha256, latency_ms=row.latency_ms, size_mb=row.size_mb, quality=row.quality, examples=row.examples
    )


def teacher_of(outcome: Outcome) -> TeacherRecord:
    """Return the teacher's numbers from the outcome of trial 0; ValueError where that is not complete."""
    measurement = outcome.measurement
    if outcome.state != "complete" or measurement is None:
        raise ValueError(f"the teacher must be complete and measured, but is {outcome.state}: {outcome.reason}")
    quality, latency = measurement.quality, measurement.latency
    return TeacherRecord(
        sha256=outcome.sha256,
        latency_ms=teacher_latency_ms(latency.p50_ms, latency.reference_p50_ms, measurement.conditions),
        size_mb=measurement.size_mb,
        quality=quality.quality if quality else None,
        examples=quality.examples if quality else None,
    )


def recipe_of(values: Mapping[str, Scalar]) -> Recipe:
    """Return a stored recipe; a decision that is newer than the row is neutral, a removed one is left out."""
    return Recipe.from_stored(values)


def trial_row(
    trial: int, recipe: Recipe, outcome: Outcome, teacher: TeacherRecord | None, test: Quality | None = None
) -> TrialRow:
    """Return the row of a trial under the names of the JSON documents; `on_front` is left false.

    `latency_ms` is the study's teacher latency ÷ speedup, p95 is scaled alike: this makes trials of different hours comparable.
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
            test_drop_interval=_finite_pair(test.drop_interval),
        )
    return row


def fail_without_numbers(outcome: Outcome, row: TrialRow) -> Outcome:
    """Return the outcome, or a failure that names the missing or non-finite numbers of a complete trial."""
    missing = [name for name in NEEDED if getattr(row, name) is None] if outcome.state == "complete" else []
    if not missing:
        return outcome
    return replace(outcome, state="failed", reason=f"{' and '.join(missing)} missing or not finite")


def measurement_values(measurement: Measurement) -> dict[str, object]:
    """Return the columns of a measurement."""
    latency = measurement.latency
    confidence = measurement.quality.confidence_drop if measurement.quality else None
    values = {**{name: getattr(measurement, name) for name in LATER}, CONFIDENCE: confidence}
    numbers = {name: number for name, value in values.items() if (number := finite(value)) is not None}
    return {
        **(quality_values(measurement.quality) if measurement.quality else {}),
        "split": "validation" if measurement.quality else "price",
        "p50_ms": finite(latency.p50_ms),
        "p95_ms": finite(latency.p95_ms),
        "reference_p50_ms": finite(latency.reference_p50_ms),
        "speedup": finite(latency.speedup),
        "speedup_low": finite(latency.speedup_interval.low),
        "speedup_high": finite(latency.speedup_interval.high),
        "blocks": latency.blocks,
        "size_mb": finite(measurement.size_mb),
        "memory_mb": finite(measurement.memory_mb),
        "cold_ms": finite(latency.cold_ms),
        "throughput": finite(latency.throughput),
        "start_ms": finite(measurement.start_ms),
        "conditions": json_object(measurement.conditions | ({LATER_NUMBERS: numbers} if numbers else {})),
    }


def quality_values(quality: Quality) -> dict[str, object]:
    """Return the columns of the quality on one split."""
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
    measured: MeasurementColumns | None,
    other_devices: Mapping[str, MeasurementColumns] | None = None,
) -> Outcome:
    """Return the outcome as it was recorded; numbers that were not finite become NaN."""
    return Outcome(
        state=candidate.state,
        reason=candidate.reason,
        measurement=measurement_of(measured) if measured is not None else None,
        other_devices={name: measurement_of(row) for name, row in (other_devices or {}).items()},
        sha256=sha256,
        seconds=_or_nan(candidate.seconds),
        stages=dict(candidate.stages),
        facts=dict(candidate.facts),
    )


def quality_of(row: MeasurementColumns) -> Quality | None:
    """Return the quality in a row; null where only the price is known."""
    if row.examples is None:
        return None
    return Quality(
        split=row.split,
        quality=_or_nan(row.quality),
        drop=_or_nan(row.drop),
        drop_interval=Interval(low=_or_nan(row.drop_low), high=_or_nan(row.drop_high)),
        disagreement=_or_nan(row.disagreement),
        soft_drop=row.soft_drop,
        soft_drop_interval=_known_interval(row.soft_drop_low, row.soft_drop_high),
        examples=row.examples,
        predictions_sha256=row.predictions_sha256 or "",
    )


def json_object(values: Mapping[str, object]) -> Json:
    """Return a mapping with all values converted to JSON types."""
    return {str(key): to_json_types(value) for key, value in values.items()}


def to_json_types(value: object) -> object:
    """Convert to JSON types: numpy's numbers and arrays unwrapped, paths as text, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return json_object(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json_types(inner) for inner in value]
    if hasattr(value, "tolist"):
        return to_json_types(value.tolist())
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if isinstance(value, (bool, int, str, type(None))) else str(value)


def finite(value: float | None) -> float | None:
    """Return the number as a Python float; null where it is not finite."""
    return float(value) if value is not None and isfinite(value) else None


def _with_measurement(row: TrialRow, measurement: Measurement, teacher: TeacherRecord | None) -> TrialRow:
    speedup = 1.0 if row.trial == 0 else finite(measurement.latency.speedup)
    latency = teacher.latency_ms / speedup if teacher and speedup else None
    p50, p95 = finite(measurement.latency.p50_ms), finite(measurement.latency.p95_ms)
    size = finite(measurement.size_mb)
    row = replace(
        row,
        latency_ms=latency,
        latency_interval=_latency_interval(row.trial, latency, measurement),
        latency_p95_ms=latency * p95 / p50 if latency and p50 and p95 else None,
        speedup=speedup,
        speedup_interval=_finite_pair(measurement.latency.speedup_interval),
        size_mb=size,
        compression=teacher.size_mb / size if teacher and size else None,
        memory_mb=finite(measurement.memory_mb),
        cold_ms=finite(measurement.latency.cold_ms),
        throughput=finite(measurement.latency.throughput),
        start_ms=finite(measurement.start_ms),
        text_ms=finite(measurement.text_ms),
        download_mb=finite(measurement.download_mb),
    )
    if measurement.quality is None:
        return row
    quality = measurement.quality
    return replace(
        row,
        quality=finite(quality.quality),
        drop=finite(quality.drop),
        drop_interval=_finite_pair(quality.drop_interval),
        disagreement=finite(quality.disagreement),
        confidence_drop=finite(quality.confidence_drop),
        soft_drop=finite(quality.soft_drop),
        soft_drop_interval=_finite_pair(quality.soft_drop_interval) if quality.soft_drop_interval else None,
    )


def _latency_interval(trial: int, latency_ms: float | None, measurement: Measurement) -> tuple[float, float] | None:
    """Return the interval of a trial's latency in the study: all trials share the ratio of teacher to timing reference."""
    interval = measurement.latency.speedup_interval
    if latency_ms is None or not (interval.low > 0 and isfinite(interval.high)):
        return None
    composed = ComposedSpeedup.from_conditions(measurement.conditions)
    if composed is None:
        half_width = Ratio.of(measurement.latency).half_width
    else:
        half_width = (composed.candidate if trial else composed.teacher.ratio).half_width
    return latency_ms * exp(-half_width), latency_ms * exp(half_width)


def _finite_pair(interval: Interval) -> tuple[float, float] | None:
    low, high = finite(interval.low), finite(interval.high)
    return None if low is None or high is None else (low, high)


def _known_interval(low: float | None, high: float | None) -> Interval | None:
    return None if low is None or high is None else Interval(low=low, high=high)


def measurement_of(row: MeasurementColumns) -> Measurement:
    """Return the measurement of a row."""
    conditions = dict(row.conditions or {})
    numbers = dict(conditions.pop(LATER_NUMBERS, {}))
    quality, confidence = quality_of(row), numbers.pop(CONFIDENCE, None)
    return Measurement(
        quality=None if quality is None else replace(quality, confidence_drop=confidence),
        latency=Latency(
            p50_ms=_or_nan(row.p50_ms),
            p95_ms=_or_nan(row.p95_ms),
            reference_p50_ms=_or_nan(row.reference_p50_ms),
            speedup=_or_nan(row.speedup),
            speedup_interval=Interval(low=_or_nan(row.speedup_low), high=_or_nan(row.speedup_high)),
            blocks=row.blocks or 0,
            noise=(row.conditions or {}).get("noise"),
            cold_ms=row.cold_ms,
            throughput=row.throughput,
        ),
        size_mb=_or_nan(row.size_mb),
        memory_mb=row.memory_mb,
        start_ms=row.start_ms,
        sha256=getattr(row, "sha256", None),
        conditions=conditions,
        **numbers,
    )


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
