"""Compose a speedup from two ratios: timing reference ÷ candidate, and teacher ÷ timing reference.

A large fp32 teacher slows down for minutes where other programs use the memory of its host; a small model hardly does. The
timing reference is a small model that is timed beside every candidate and, again and again, beside the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, expm1, hypot, log

from autocompress.core.json_types import Json
from autocompress.core.measurement import Interval, Latency

KEY = "timing_reference"  # of the ratios in the conditions of a measurement
DESCRIPTION = "a small model (the timing reference), default session"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A ratio of two latencies with its 95 % interval, as natural logarithms."""

    log: float
    half_width: float

    @classmethod
    def of(cls, latency: Latency) -> Ratio:
        """Return the speedup of a latency."""
        interval = latency.speedup_interval
        return cls(log=log(latency.speedup), half_width=log(interval.high / interval.low) / 2)

    @property
    def value(self) -> float:
        """The ratio itself."""
        return exp(self.log)

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the ratio itself."""
        return Interval(low=exp(self.log - self.half_width), high=exp(self.log + self.half_width))

    def times(self, other: Ratio) -> Ratio:
        """Return the product of two ratios whose errors are independent."""
        return Ratio(log=self.log + other.log, half_width=hypot(self.half_width, other.half_width))


@dataclass(frozen=True, kw_only=True)
class TeacherRatio:
    """The teacher's latency ÷ the timing reference's, pooled over the measurements of a series."""

    ratio: Ratio
    measurements: int
    series: str  # hash of the models, the device and the shapes: other measurements cannot be pooled with these


@dataclass(frozen=True, kw_only=True)
class ComposedSpeedup:
    """The two ratios of a speedup."""

    candidate: Ratio  # timing reference ÷ candidate
    teacher: TeacherRatio

    @property
    def speedup(self) -> Ratio:
        """The speedup: teacher ÷ candidate."""
        return self.candidate.times(self.teacher.ratio)

    def apply(self, latency: Latency) -> Latency:
        """Return a latency with this speedup."""
        return replace(latency, speedup=self.speedup.value, speedup_interval=self.speedup.interval)

    def describe(self) -> str:
        """Describe both ratios and their errors."""
        return (
            f"teacher ÷ timing reference {_describe(self.teacher.ratio)}, {self.teacher.measurements} measurements; timing"
            f" reference ÷ model {_describe(self.candidate)}"
        )

    def as_json(self) -> Json:
        """Return plain JSON types, as the conditions of a measurement hold them."""
        return {
            "reference_to_candidate": _ratio_json(self.candidate),
            "teacher_to_reference": _ratio_json(self.teacher.ratio),
            "teacher_measurements": self.teacher.measurements,
            "series": self.teacher.series,
        }

    @classmethod
    def from_conditions(cls, conditions: Mapping[str, object] | None) -> ComposedSpeedup | None:
        """Return the ratios in the conditions of a measurement; null where the candidate was timed beside the teacher."""
        values = (conditions or {}).get(KEY)
        if not isinstance(values, Mapping):
            return None
        teacher = TeacherRatio(
            ratio=Ratio(**values["teacher_to_reference"]),
            measurements=values["teacher_measurements"],
            series=values["series"],
        )
        return cls(candidate=Ratio(**values["reference_to_candidate"]), teacher=teacher)


def teacher_latency_ms(p50_ms: float, reference_p50_ms: float, conditions: Mapping[str, object] | None) -> float:
    """Return a study's teacher latency from the measurement of trial 0: the timing reference's latency × the pooled ratio.

    `p50_ms` is what the teacher itself took in that measurement: the result where there is no timing reference.
    """
    composed = ComposedSpeedup.from_conditions(conditions)
    return p50_ms if composed is None else reference_p50_ms * composed.teacher.ratio.value


def _describe(ratio: Ratio) -> str:
    return f"{ratio.value:.3g} ± {100 * expm1(ratio.half_width):.1f} %"


def _ratio_json(ratio: Ratio) -> Json:
    return {"log": ratio.log, "half_width": ratio.half_width}
