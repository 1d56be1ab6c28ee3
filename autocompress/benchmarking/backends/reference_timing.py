"""Time the artifacts of a study on one device, and the teacher's among them, beside the same reference."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import hypot, log
from pathlib import Path
from typing import Protocol

from autocompress.benchmarking.backends.protocol import Backend, drift_on
from autocompress.benchmarking.drift import with_drift
from autocompress.benchmarking.inputs import Feeds
from autocompress.benchmarking.latency import CACHES_TIMING, TEACHER_TIMING, THOROUGH_TIMING, UNKNOWN_MS, TimingBudget
from autocompress.benchmarking.teacher_records import DISTURBED_BIAS, TeacherRecords
from autocompress.core import composed_speedup
from autocompress.core.composed_speedup import ComposedSpeedup, Ratio, TeacherRatio
from autocompress.core.measurement import Latency, Timing
from autocompress.core.stage import digest
from autocompress.storage.artifact_store import Store

REFERENCE_SPREAD = 0.022  # further s.d. of the logarithm of a ratio to so small a model between processes
CALLS = 50  # of the teacher, about, in one measurement of it: three blocks and their warm-up


class ArtifactTiming(Protocol):
    """Times artifacts with the speedup over the teacher."""

    def time(self, artifact: Path, feeds: Feeds, budget: TimingBudget) -> Timing:
        """Time an artifact."""

    def time_teacher(self, feeds: Feeds) -> None:
        """Time the teacher where that is due."""


@dataclass(frozen=True)
class TeacherTiming:
    """Times artifacts beside the teacher itself: of studies that began so, and of families that cannot be sliced.

    The interval is widened by the drift of the teacher's latency.
    """

    backend: Backend
    store: Store
    teacher: str  # sha256

    def time(self, artifact: Path, feeds: Feeds, budget: TimingBudget) -> Timing:
        """Time an artifact in blocks that alternate with the teacher's."""
        timing = self.backend.time(
            artifact, self.store.artifact(self.teacher), feeds, budget, budget is THOROUGH_TIMING
        )
        spread = drift_on(self.store, self.teacher, self.backend).note(timing.latency.reference_p50_ms)
        latency = with_drift(timing.latency, spread)
        noise = {"noise": latency.noise} if latency.noise else {}
        return replace(timing, latency=latency, conditions={**timing.conditions, **noise})

    def time_teacher(self, feeds: Feeds) -> None:
        """Do nothing: every measurement times the teacher."""


@dataclass(frozen=True)
class ReferenceTiming:
    """Times artifacts beside a small model, the timing reference, and composes their speedups (see `composed_speedup`)."""

    backend: Backend
    store: Store
    teacher: str  # sha256
    reference: Path  # the artifact of the timing reference; its name is its key
    now: Callable[[], float] = time.time

    def time(self, artifact: Path, feeds: Feeds, budget: TimingBudget) -> Timing:
        """Time an artifact in blocks that alternate with the timing reference's; then time the teacher where that is due."""
        is_thorough, start = budget is THOROUGH_TIMING, self.now()
        calm = self.records(feeds).reference_ms()
        beside_reference = replace(budget, further=False, calm_reference_ms=calm or UNKNOWN_MS)
        timing = self.backend.time(artifact, self.reference, feeds, beside_reference, is_thorough)
        self._note_fastest(start, timing.latency, feeds)
        latency = timing.latency
        candidate = widen(Ratio.of(latency), latency, self.records(feeds).reference_ms())
        if artifact == self._teacher_folder:
            self._add(start, timing.latency, feeds)
        self.time_teacher(feeds)
        if is_thorough:  # the timing reference is too small to empty the caches
            further = self.backend.time(artifact, self._teacher_folder, feeds, CACHES_TIMING, False).latency
            latency = replace(latency, cold_ms=further.cold_ms, throughput=further.throughput)
        composed = ComposedSpeedup(candidate=candidate, teacher=self.teacher_ratio(feeds))
        conditions = {
            **timing.conditions,
            "blocks_alternate_with": composed_speedup.DESCRIPTION,
            composed_speedup.KEY: composed.as_json(),
        }
        return replace(timing, latency=composed.apply(latency), conditions=conditions)

    def time_teacher(self, feeds: Feeds) -> None:
        """Time the teacher beside the timing reference where the last measurement is long enough ago."""
        records, start = self.records(feeds), self.now()
        if records.is_due(start):
            budget = replace(TEACHER_TIMING, calm_reference_ms=records.reference_ms() or UNKNOWN_MS)
            latency = self.backend.time(self._teacher_folder, self.reference, feeds, budget, False).latency
            self._note_fastest(start, latency, feeds)
            self._add(start, latency, feeds)

    def teacher_ratio(self, feeds: Feeds) -> TeacherRatio:
        """Return the teacher's latency ÷ the timing reference's, pooled over all measurements."""
        ratio, measurements = self.records(feeds).pool()
        return TeacherRatio(ratio=ratio, measurements=measurements, series=digest(self._series(feeds)))

    def _add(self, start: float, latency: Latency, feeds: Feeds) -> None:
        """Add a measurement of the teacher that began at `start`; waiting for other workers is not part of its cost.

        It compares medians over the pairs of blocks: one disturbed block of the timing reference must not make the teacher
        fast.
        """
        log_ratio = log(latency.p50_ms / latency.reference_p50_ms)
        self.records(feeds).add(start, log_ratio, CALLS * latency.p50_ms / 1e3, latency.reference_p50_ms)

    def _note_fastest(self, start: float, latency: Latency, feeds: Feeds) -> None:
        if latency.fastest_reference_ms is not None:
            self.records(feeds).add_fastest(start, latency.fastest_reference_ms)

    @property
    def _teacher_folder(self) -> Path:
        return self.store.artifact(self.teacher)

    def records(self, feeds: Feeds) -> TeacherRecords:
        """Return the teacher's measurements with inputs of these shapes."""
        where = {"url": self.backend.device.url}
        return TeacherRecords(self.store.series("teacher_timings", {**self._series(feeds), **where}))

    def _series(self, feeds: Feeds) -> dict[str, object]:
        """Return what the ratio depends on; nothing in it identifies a host."""
        device = self.backend.device
        return {
            "teacher": self.teacher,
            "reference": self.reference.name,
            "shapes": [feed["input_ids"].shape for feed in feeds],  # in order: a slow model sees the first ones
            "threads": device.threads,
            "runtime": device.runtime,
            "cpu": self.backend.cpu(),
        }


def widen(ratio: Ratio, latency: Latency, calm_reference_ms: float | None) -> Ratio:
    """Widen a ratio to the timing reference by how it varies between processes, and by how much slower than in calm moments
    the reference was: other programs slow a larger model down less, so that the ratio flatters it (see studies/LOG.md)."""
    slowness = max(0.0, log(latency.reference_p50_ms / calm_reference_ms)) if calm_reference_ms else 0.0
    return replace(ratio, half_width=hypot(ratio.half_width, DISTURBED_BIAS * slowness, 1.96 * REFERENCE_SPREAD))
