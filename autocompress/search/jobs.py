"""What supervisor and workers say to each other. No torch, so that the supervisor stays light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autocompress.config import Recovery
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome
from autocompress.selection.latency_model import LatencyTable
from autocompress.training.time_fitting import TrainingRates


@dataclass(frozen=True)
class AdmissionLimits:
    """What a candidate's price must pass before it is built, or trained."""

    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    teacher_latency_ms: float | None = None
    unbeaten: tuple[tuple[float, float], ...] = ()  # (speedup, size_mb) of complete trials that lost no quality
    table: LatencyTable | None = None  # predicts the latency of what is not built yet
    measured: bool = False  # whether the untrained candidate is measured, too


@dataclass(frozen=True)
class Job:
    """What a child is asked to do: the teacher (trial 0), what a training step costs, what all trials share, a trial; for a
    finished one the test split, or devices that were out of reach."""

    kind: str  # teacher | calibration | shared | trial | test | elsewhere
    trial: int
    recipe: Recipe | None = None
    rung: int = 0
    bar: AdmissionLimits | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)  # runtime -> sha256, of what is to be tested
    devices: tuple[str, ...] = ()  # names of the further ones that it is to be measured on


@dataclass(frozen=True)
class RunSettings:
    """What holds for all jobs once the search has begun."""

    references: Mapping[str, str] = field(default_factory=dict)  # runtime -> sha256 of the teacher's artifact
    recovery: Recovery | None = None  # where amounts were fitted to the budget


@dataclass(frozen=True)
class Progress:
    """Progress: the stage a child is in and the fraction of it that is done."""

    stage: str
    fraction: float


@dataclass(frozen=True)
class JobResult:
    """A job's end: an outcome, a quality (test), measurements (elsewhere), rates (calibration), or the error that ended it."""

    outcome: Outcome | None = None
    quality: Quality | None = None
    other_devices: dict[str, Quality] = field(default_factory=dict)  # likewise, on further devices
    measured: dict[str, Measurement] = field(default_factory=dict)  # on further devices, by name
    rates: TrainingRates | None = None
    error: str | None = None
    lost: bool = False  # the device is out of reach: no fault of the trial
    usage: bool = False  # the error lies in the study file or the data: exit code 2
