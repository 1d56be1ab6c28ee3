"""The messages between the supervisor and its workers. Imports no torch, so that the supervisor uses little memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autocompress.config import Recovery
from autocompress.core.agreement import Agreement
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome
from autocompress.selection.latency_model import LatencyTable
from autocompress.training.time_fitting import TrainingRates


@dataclass(frozen=True)
class AdmissionLimits:
    """Limits that a candidate's latency and size must satisfy before it is built or trained."""

    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    teacher_latency_ms: float | None = None
    unbeaten: tuple[tuple[float, float], ...] = ()  # (speedup, size_mb) of complete trials that lost no quality
    latency_model: LatencyTable | None = None  # predicts the latency of candidates that are not built yet
    measure_untrained: bool = False  # whether the untrained candidate is measured, too


@dataclass(frozen=True)
class Job:
    """One piece of work for a worker."""

    # teacher: trial 0 | calibration: what a training step costs | shared: what all trials need | trial | of a finished trial:
    # test: the test split | agreement: the agreement rows | other_devices: devices that were unreachable
    kind: str
    trial: int
    recipe: Recipe | None = None
    rung: int = 0
    limits: AdmissionLimits | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)  # runtime -> sha256; of a test, or of an agreement
    parts: int = 0  # of the agreement rows
    devices: tuple[str, ...] = ()  # names of the devices that were unreachable


@dataclass(frozen=True)
class RunSettings:
    """Settings of all jobs once the teacher is measured."""

    references: Mapping[str, str] = field(default_factory=dict)  # runtime -> sha256 of the teacher's artifact
    recovery: Recovery | None = None  # amounts of training that were fitted to the time budget
    times_beside_teacher: bool = False  # as studies were timed before they had a timing reference


@dataclass(frozen=True)
class Progress:
    """The stage that a worker is in, and the fraction of it that is done."""

    stage: str
    fraction: float


@dataclass(frozen=True)
class JobResult:
    """The result of a job, or the error that ended it."""

    outcome: Outcome | None = None  # of teacher and trial
    quality: Quality | None = None  # of test
    agreement: Agreement | None = None  # of agreement
    other_devices: dict[str, Quality] = field(default_factory=dict)  # of test, by device
    measured: dict[str, Measurement] = field(default_factory=dict)  # of other_devices, by device
    rates: TrainingRates | None = None  # of calibration
    error: str | None = None
    is_crash: bool = False  # the worker's process ended
    is_device_lost: bool = False  # the device is unreachable: no fault of the trial
    is_usage_error: bool = False  # the study file or the data are wrong: exit code 2
