"""The outcome of a trial, and the row of results that people and scripts read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from autocompress.core.agreement import Agreement
from autocompress.core.formatting import times
from autocompress.core.json_types import Json
from autocompress.core.measurement import Measurement
from autocompress.core.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a trial, as a worker reports it and the study records it."""

    state: str  # complete | stopped | failed
    reason: str | None = None
    measurement: Measurement | None = None
    other_devices: dict[str, Measurement] = field(default_factory=dict)  # on secondary devices, by name
    sha256: str | None = None  # of the artifact's manifest
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)  # stage -> seconds
    facts: Json = field(default_factory=dict)  # parameters, heads per layer, neurons per layer, …


def describe(recipe: Recipe, rung: int | None) -> str:
    """Describe a recipe and, if it was not trained in full, how far it was trained."""
    training = {0: ", untrained", 1: ", trained shortly"}.get(-1 if rung is None else rung, "")
    return recipe.describe() + training


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A trial with its recipe and measurement, under the names of the JSON contract. A number is null until measured."""

    trial: int
    """The trial's number; 0 is the teacher."""
    state: str
    """complete, stopped, failed or running."""
    reason: str | None
    """Why the trial was stopped, failed, or was not trained further."""
    recipe: Recipe
    """Decision → value."""
    rung: int | None = None
    """0: sliced and not trained; 1: trained shortly; 2: trained in full; null for the teacher."""
    heads: tuple[int, ...] | None = None
    """Attention heads of each kept layer."""
    neurons: tuple[int, ...] | None = None
    """Feed-forward neurons of each kept layer."""
    quality: float | None = None
    """The metric on the validation split."""
    drop: float | None = None
    """The teacher's quality minus the candidate's, on the same rows, as a fraction: 0.01 is 1 point."""
    drop_interval: tuple[float, float] | None = None
    """95 % interval of `drop`, by paired bootstrap over the rows."""
    test_quality: float | None = None
    """The metric on the test split, which the search never reads."""
    test_drop: float | None = None
    """The same as `drop`, on the test split."""
    test_drop_interval: tuple[float, float] | None = None
    """The same as `drop_interval`, on the test split."""
    latency_ms: float | None = None
    """Median latency of one call: the study's teacher latency ÷ speedup, so that trials an hour apart are comparable."""
    latency_interval: tuple[float, float] | None = None
    """95 % interval of `latency_ms` for comparing trials of one study: without the error that they share with the teacher."""
    latency_p95_ms: float | None = None
    """95th percentile of the latency, scaled in the same way."""
    speedup: float | None = None
    """Latency of the teacher's fp32 artifact ÷ the candidate's, on the same runtime, each in blocks that alternate with those
    of the same small model."""
    speedup_interval: tuple[float, float] | None = None
    """95 % interval of `speedup`; it has the errors of both ratios."""
    size_mb: float | None = None
    """Size of the files that the runtime loads, in MB of 10⁶ bytes."""
    compression: float | None = None
    """The teacher's size ÷ the candidate's."""
    memory_mb: float | None = None
    """Memory that opening and running the model adds to the peak of a fresh process, in MB."""
    cold_ms: float | None = None
    """Latency of one call with cold caches, in ms; as measured, not scaled."""
    throughput: float | None = None
    """Texts per second in batches of 32."""
    start_ms: float | None = None
    """Time from opening the model to the first logits, in ms."""
    text_ms: float | None = None
    """Median time from a text of the validation split to its label, tokenizer included, in ms; as measured, not scaled."""
    download_mb: float | None = None
    """Size of all files that inference needs, the tokenizer included, in MB of 10⁶ bytes."""
    on_front: bool = False
    """Whether the model is on the front."""
    ties: tuple[int, ...] = ()
    """Other trials on the front that the measurements cannot distinguish from this one."""
    seconds: float | None = None
    """Duration of the trial, in seconds."""
    sha256: str | None = None
    """sha256 of the artifact's manifest."""
    disagreement: float | None = None
    """Fraction of the validation rows on which the candidate's and the teacher's predictions differ."""
    soft_drop: float | None = None
    """Drop with each row weighted by the confidence of both models; it has a lower variance than `drop`."""
    soft_drop_interval: tuple[float, float] | None = None
    """95 % interval of `soft_drop`."""
    confidence_drop: float | None = None
    """Drop on the validation rows if the teacher's own calibrated probabilities were true."""
    agreement: Agreement | None = None
    """The comparison with the teacher on the agreement rows: `rows`, `disagreement`, `confidence_drop`, and `drop` with its
    `drop_deviation` where these rows have labels."""
    expected_drop: float | None = None
    """Drop to expect on new rows, estimated from all trials of the study; `pick` uses it."""
    expected_drop_interval: tuple[float, float] | None = None
    """95 % interval of `expected_drop`."""
    device: str | None = None
    """The device of the measurement, if the study has several; `all`: the worst value of each number."""

    def describe(self) -> str:
        """Describe the model in one short line."""
        return "teacher, fp32" if self.trial == 0 else describe(self.recipe, self.rung)

    def speedup_text(self) -> str:
        """Return the speed-up with its interval: `10.1× (9.8…10.4)`; the teacher's has none."""
        interval = None if self.trial == 0 or self.speedup is None else self.speedup_interval
        return times(self.speedup) + (f" ({interval[0]:.1f}…{interval[1]:.1f})" if interval else "")

    def as_json(self) -> dict[str, object]:
        """Return the ROW of the JSON contract."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        row["recipe"] = self.recipe.as_dict()
        row["agreement"] = None if self.agreement is None else asdict(self.agreement)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}
