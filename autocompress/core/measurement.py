"""Measurements of one artifact on one device: quality, latency, size, memory, operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from autocompress.core.json_types import Json

NAMED_OPERATORS = 4  # named in a sentence


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Latency of one artifact, timed in blocks that alternate with those of a reference.

    The reference of a study is the timing reference (see `composed_speedup`), or the fp32 teacher itself.
    """

    p50_ms: float
    p95_ms: float
    reference_p50_ms: float  # of the model that the blocks alternated with
    speedup: float  # teacher ÷ artifact in a study; before it is composed, and outside of studies, reference ÷ artifact
    speedup_interval: Interval
    blocks: int  # number of pairs of blocks
    noise: str | None = None  # other load on the machine, in words; null if none was detected
    cold_ms: float | None = None  # median of calls right after the reference has filled the caches
    throughput: float | None = None  # texts per second, in batches of 32 (or of the device's batch, if larger)
    fastest_reference_ms: float | None = None  # of a small reference: the median of its fastest block


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Operators of one kind that a runtime executed in one forward pass."""

    name: str
    precision: str  # of its computation, or of its input
    where: str  # the provider or kernel that ran it
    fallback: bool  # ran by another provider than the intended one, or by reference code
    count: int
    share: float  # fraction of the time of all operators


def describe_operators(operators: Sequence[Json]) -> str:
    """Describe operators (as JSON, slowest first): their number, the slowest ones, and the ones that fell back."""
    slowest = ", ".join(
        f"{operator['name']} ({operator['precision']}) {100 * operator['share']:.0f} %"
        for operator in operators[:NAMED_OPERATORS]
    )
    fallbacks = sorted({operator["name"] for operator in operators if operator["fallback"]})
    fallback_text = f"; by reference code or another provider: {', '.join(fallbacks)}" if fallbacks else ""
    count = sum(operator["count"] for operator in operators)
    return f"{count} operators per pass; share of their time: {slowest}{fallback_text}"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Latency of an artifact on a device, memory and start of a fresh process, and the conditions of the measurement."""

    latency: Latency
    memory_mb: float | None = None  # peak of a fresh process; null if not measured
    start_ms: float | None = None  # in a fresh process, from opening the artifact to the first logits
    conditions: Json


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The metric over one whole split, computed in the runtime. `drop` is reference − artifact: positive is worse."""

    split: str
    quality: float
    drop: float
    drop_interval: Interval  # paired bootstrap over the rows
    disagreement: float  # fraction of the rows on which the artifact's and the reference's predictions differ
    examples: int
    predictions_sha256: str
    soft_drop: float | None = None  # a lower-variance estimate of the drop; null in old studies
    soft_drop_interval: Interval | None = None
    confidence_drop: float | None = None  # the drop by the teacher's own calibrated probabilities; null in old studies


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """All measurements of one artifact on one device, with their conditions."""

    quality: Quality | None  # null while only latency and size are known
    latency: Latency
    size_mb: float
    memory_mb: float | None
    start_ms: float | None = None
    text_ms: float | None = None  # from a text to its label, tokenizer included
    download_mb: float | None = None  # all files that inference needs; null in old studies
    sha256: str | None = None  # of the measured artifact; null if it is the trial's own
    conditions: Json = field(default_factory=dict)

    def as_dict(self) -> Json:
        """Return the measurement as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Json) -> Measurement:
        """Return the measurement from the result of `as_dict`."""
        latency = dict(values["latency"])
        latency["speedup_interval"] = Interval(**latency["speedup_interval"])
        quality = values["quality"]
        return cls(
            quality=quality_from_dict(quality) if quality else None,
            latency=Latency(**latency),
            size_mb=values["size_mb"],
            memory_mb=values["memory_mb"],
            start_ms=values.get("start_ms"),
            text_ms=values.get("text_ms"),
            download_mb=values.get("download_mb"),
            sha256=values.get("sha256"),
            conditions=dict(values["conditions"]),
        )


def quality_from_dict(values: Json) -> Quality:
    """Return a `Quality` from plain JSON types."""
    intervals = {name: Interval(**values[name]) for name in ("drop_interval", "soft_drop_interval") if values.get(name)}
    return Quality(**{**values, **intervals})
