"""What was seen of one artifact on one device, and the row of results that people and scripts read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from autocompress.core.formatting import times
from autocompress.core.recipe import Recipe

NAMED_OPERATORS = 4  # in a sentence


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Forward passes of one artifact, timed in blocks that alternate with blocks of the fp32 reference."""

    p50_ms: float
    p95_ms: float
    reference_p50_ms: float
    speedup: float  # reference ÷ this, geometric mean over pairs of blocks
    speedup_interval: Interval
    blocks: int  # pairs of them
    noise: str | None = None  # what else took the machine's time, in words; null: nothing that could be seen
    cold_ms: float | None = None  # median of calls that each find the caches full of the reference
    throughput: float | None = None  # texts per second, in batches of 32 (or the device's, where that is larger)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Operators of one kind as a runtime really ran them, in one forward pass."""

    name: str
    precision: str  # what it computed in, or read
    where: str  # by which provider or kernel
    fallback: bool  # not by the one that was wanted: another provider, or plain reference code
    count: int
    share: float  # of the time of all operators


def describe_operators(ran: Sequence[Mapping[str, Any]]) -> str:
    """Of operators as JSON: how many, what took most of their time, and what a fallback ran."""
    most = ", ".join(f"{one['name']} ({one['precision']}) {100 * one['share']:.0f} %" for one in ran[:NAMED_OPERATORS])
    fell = sorted({one["name"] for one in ran if one["fallback"]})
    back = f"; by reference code or another provider: {', '.join(fell)}" if fell else ""
    return f"{sum(one['count'] for one in ran)} operators a pass; of their time {most}{back}"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How fast an artifact is on a device, what a fresh process takes for it, and under which conditions all that holds."""

    latency: Latency
    memory_mb: float | None = None  # of a fresh process, its peak; null where it was not asked for
    start_ms: float | None = None  # in a fresh process, from opening the artifact to its first logits
    conditions: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The metric over one whole split, in the runtime. `drop` is reference − this: positive is worse."""

    split: str
    quality: float
    drop: float
    drop_interval: Interval  # paired bootstrap over the rows
    disagreement: float  # fraction of the rows on which prediction and reference prediction differ
    examples: int
    predictions_sha256: str
    soft_drop: float | None = None  # the drop with less luck in it (`scoring.soft_drop`); null in studies of old
    soft_drop_interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One artifact on one device, with the conditions that give the numbers a meaning."""

    quality: Quality | None  # null while only the price is known
    latency: Latency
    size_mb: float
    memory_mb: float | None
    start_ms: float | None = None
    sha256: str | None = None  # of what was measured; null where that is the trial's own artifact
    conditions: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measurement:
        """Back from `as_dict`."""
        latency = dict(values["latency"])
        latency["speedup_interval"] = Interval(**latency["speedup_interval"])
        quality = values["quality"]
        return cls(
            quality=quality_from_dict(quality) if quality else None,
            latency=Latency(**latency),
            size_mb=values["size_mb"],
            memory_mb=values["memory_mb"],
            start_ms=values.get("start_ms"),
            sha256=values.get("sha256"),
            conditions=dict(values["conditions"]),
        )


def quality_from_dict(values: Mapping[str, Any]) -> Quality:
    """A `Quality` back from plain JSON types."""
    intervals = {name: Interval(**values[name]) for name in ("drop_interval", "soft_drop_interval") if values.get(name)}
    return Quality(**{**values, **intervals})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended, as a worker reports it and the study records it."""

    state: str  # complete | stopped | failed
    reason: str | None = None
    measurement: Measurement | None = None
    other_devices: dict[str, Measurement] = field(default_factory=dict)  # on further devices, by name
    sha256: str | None = None  # of the artifact's manifest
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)  # stage -> seconds
    facts: dict[str, Any] = field(default_factory=dict)  # parameters, heads per layer, neurons per layer, …


def describe(recipe: Recipe, rung: int | None) -> str:
    """A recipe and, where it was not trained in full, how far."""
    how_far = {0: ", untrained", 1: ", trained shortly"}.get(-1 if rung is None else rung, "")
    return recipe.describe() + how_far


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A row: trial, recipe and measurement, under the names of the JSON contract. A number is null until measured."""

    trial: int
    """Its number; 0 is the teacher."""
    state: str
    """complete, stopped, failed or running."""
    reason: str | None
    """Why it was stopped or failed, or was not trained further."""
    recipe: Recipe
    """Decision → value."""
    rung: int | None = None
    """0: cut and not trained, 1: trained shortly, 2: in full; null for the teacher."""
    heads: tuple[int, ...] | None = None
    """Heads of each kept layer."""
    neurons: tuple[int, ...] | None = None
    """Feed-forward neurons of each kept layer."""
    quality: float | None = None
    """The metric on the validation split."""
    drop: float | None = None
    """The teacher's quality less this, on the same rows; a fraction, 0.01 = 1 point."""
    drop_interval: tuple[float, float] | None = None
    """95 %, paired bootstrap over the rows."""
    test_quality: float | None = None
    """The metric on the test split, which no search sees."""
    test_drop: float | None = None
    """As drop, on the test split."""
    test_drop_interval: tuple[float, float] | None = None
    """As drop_interval, on the test split."""
    latency_ms: float | None = None
    """Of one call: the study's teacher latency ÷ speedup, so that trials an hour apart compare."""
    latency_p95_ms: float | None = None
    """The 95th percentile, scaled alike."""
    speedup: float | None = None
    """The teacher's fp32 artifact ÷ this, in alternating blocks on the same runtime."""
    speedup_interval: tuple[float, float] | None = None
    """95 %."""
    size_mb: float | None = None
    """What the runtime loads, in MB of 10⁶ bytes."""
    compression: float | None = None
    """The teacher's size ÷ this."""
    memory_mb: float | None = None
    """What opening and running adds to the peak memory of a fresh process, in MB."""
    cold_ms: float | None = None
    """Of one call with cold caches; as measured, not scaled."""
    throughput: float | None = None
    """Texts per second in batches of 32."""
    start_ms: float | None = None
    """From opening the file to the first logits, in ms."""
    on_front: bool = False
    """Whether it is a model of the front."""
    ties: tuple[int, ...] = ()
    """Other trials on the front that the measurements cannot tell it from."""
    seconds: float | None = None
    """That the trial took."""
    sha256: str | None = None
    """Of the artifact's manifest."""
    disagreement: float | None = None
    """Fraction of the validation rows on which it and the teacher predict otherwise."""
    soft_drop: float | None = None
    """Drop with each row weighed by how sure both models are."""
    soft_drop_interval: tuple[float, float] | None = None
    """95 %."""
    expected_drop: float | None = None
    """Drop to expect on other rows, by all that the study shows; what `pick` judges by."""
    expected_drop_interval: tuple[float, float] | None = None
    """95 %."""
    device: str | None = None
    """That the numbers were taken on, where a study has several; all: the worst of each."""

    def describe(self) -> str:
        """What it is, in one short line; trial 0 is the teacher."""
        return "teacher, fp32" if self.trial == 0 else describe(self.recipe, self.rung)

    def speedup_text(self) -> str:
        """Its speed-up with the interval: `10.1× (9.8…10.4)`; the teacher's is exact."""
        low_high = None if self.trial == 0 or self.speedup is None else self.speedup_interval
        return times(self.speedup) + (f" ({low_high[0]:.1f}…{low_high[1]:.1f})" if low_high else "")

    def as_json(self) -> dict[str, Any]:
        """The ROW of the JSON contract."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        row["recipe"] = self.recipe.as_dict()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}
