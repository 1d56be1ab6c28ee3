"""The devices of a study: what an artifact is there, beside the teacher's. The first of them drives the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from autocompress import benchmarking, metrics
from autocompress.benchmarking import TimingBudget, scoring
from autocompress.benchmarking.backends import Backend, drift_on, open_backend
from autocompress.core.errors import DeviceLost
from autocompress.core.measurement import Measurement, Quality, Timing
from autocompress.runtimes import runtime_of
from autocompress.search.stages import outputs_stage
from autocompress.search.study_context import StageTimer, StudyContext
from autocompress.storage import device_lock

RuntimeArtifacts = Mapping[str, str]  # of one candidate: runtime -> sha256
ONCE_MORE = 2.0  # seconds, for a device that was lost just before
Measured = TypeVar("Measured", Measurement, Quality)


@dataclass(kw_only=True)
class StudyDevice:
    """One device."""

    name: str | None  # null: the first
    target: Backend
    lost: bool = False  # it gave no answer the last time

    @property
    def runtime(self) -> str:
        """What artifacts run in there."""
        return self.target.device.runtime

    def stage(self, words: str) -> str:
        """What is done there, for people to see."""
        return words if self.name is None else f"{words}, on {self.name}"


class StudyDevices:
    """Measures artifacts on all devices of a study."""

    def __init__(self, shared: StudyContext) -> None:
        self.shared, self.store = shared, shared.store
        plan = shared.plan
        targets = [
            open_backend(device, plan.place(key_path), self.store.root, plan.seed, print)
            for key_path, device in plan.by_key_path.items()
        ]
        self.devices = [
            StudyDevice(name=name, target=target) for name, target in zip((None, *plan.others), targets, strict=True)
        ]
        self.metric = metrics.score_function(plan.task.metric)
        self.references: RuntimeArtifacts = {}  # the teacher's

    @property
    def runtimes(self) -> tuple[str, ...]:
        """What a candidate is to be deployed for; the first device's comes first."""
        return tuple(dict.fromkeys(place.runtime for place in self.devices))

    def measure(
        self, artifacts: RuntimeArtifacts, effort: TimingBudget, clock: StageTimer, all_of_them: bool = False
    ) -> tuple[Measurement, dict[str, Measurement]]:
        """A candidate's latency, size, memory and quality on validation: on the first device; on the others, by name.

        DeviceLost where the first is out of reach. Another that is is left out, unless `all_of_them` are needed.
        """
        first = _reach(self.devices[0], lambda place: self._measure(place, artifacts, effort, clock))
        names = [str(place.name) for place in self.devices[1:]]
        return replace(first, sha256=None), self.measure_on(names, artifacts, effort, clock, all_of_them)

    def measure_on(
        self,
        names: Sequence[str],
        artifacts: RuntimeArtifacts,
        effort: TimingBudget,
        clock: StageTimer,
        all_of_them: bool = False,
    ) -> dict[str, Measurement]:
        """Likewise, on some of the further devices."""
        own = artifacts[self.devices[0].runtime]
        found = self._reached(names, lambda place: self._measure(place, artifacts, effort, clock), all_of_them)
        return {name: replace(seen, sha256=None if seen.sha256 == own else seen.sha256) for name, seen in found.items()}

    def score(self, artifacts: RuntimeArtifacts, split: str, clock: StageTimer) -> tuple[Quality, dict[str, Quality]]:
        """A candidate's quality on a split against the teacher's: on the first device; on the others that are in reach,
        by name."""
        first = _reach(self.devices[0], lambda place: self._score(place, artifacts, split, clock))
        names = [
            str(place.name) for place in self.devices[1:] if place.runtime in artifacts
        ]  # else it was out of reach
        return first, self._reached(names, lambda place: self._score(place, artifacts, split, clock))

    def recall(self, artifacts: RuntimeArtifacts) -> dict[str, tuple[float, float]]:
        """Of the validation rows of each label, the fraction that a candidate gets right on the first device, and the
        teacher's; what was scored is kept, and not run again."""
        place, shared = self.devices[0], self.shared
        labels = shared.tokens["validation"].labels
        own, teachers = (
            self._logits(place, found[place.runtime], "validation", _silently).argmax(-1) == labels
            for found in (artifacts, self.references)
        )
        return {
            name: (float(own[labels == number].mean()), float(teachers[labels == number].mean()))
            for number, name in enumerate(shared.data.label_names)
            if (labels == number).any()
        }

    def set_patience(self, share: float = 1.0) -> None:
        """How long lost devices are waited for from now on: as a share of what the study file says."""
        for place in self.devices:
            patience = share * place.target.device.patience
            place.target.patience = min(ONCE_MORE, patience) if place.lost else patience

    def _reached(
        self, names: Sequence[str], look: Callable[[StudyDevice], Measured], all_of_them: bool = False
    ) -> dict[str, Measured]:
        found = {}
        for place in self.devices:
            if place.name is None or place.name not in names:
                continue
            try:
                found[place.name] = _reach(place, look)
            except DeviceLost:
                if all_of_them:
                    raise
        return found

    def logits(self, artifacts: RuntimeArtifacts, split: str, clock: StageTimer) -> np.ndarray:
        """(rows, labels) of a candidate on a split, on the first device."""
        first = self.devices[0]
        with clock.stage(f"quality on {split}") as progress, device_lock.computing(self.store.root):
            return self._logits(first, artifacts[first.runtime], split, progress)

    def time(self, folder: Path, effort: TimingBudget) -> Timing:
        """How fast an artifact is on the first device."""
        return self._time(self.devices[0], folder, effort)

    def _measure(
        self, place: StudyDevice, artifacts: RuntimeArtifacts, effort: TimingBudget, clock: StageTimer
    ) -> Measurement:
        sha256 = artifacts[place.runtime]
        folder = self.store.artifact(sha256)
        with clock.stage(place.stage("measuring latency")):
            timed = self._time(place, folder, effort)
        return Measurement(
            quality=self._score(place, artifacts, "validation", clock),
            latency=timed.latency,
            size_mb=benchmarking.size_mb(runtime_of(folder), folder),
            memory_mb=timed.memory_mb,
            start_ms=timed.start_ms,
            sha256=sha256,
            conditions=timed.conditions,
        )

    def _time(self, place: StudyDevice, folder: Path, effort: TimingBudget) -> Timing:
        device, shared = place.target.device, self.shared
        feeds = benchmarking.latency_feeds(
            len(shared.tokenizer), device.batch, device.tokens, shared.lengths("validation"), shared.plan.seed
        )
        sha256 = self.references[place.runtime]
        timed = place.target.time(
            folder, self.store.artifact(sha256), feeds, effort, effort is benchmarking.THOROUGH_TIMING
        )
        spread = drift_on(self.store, sha256, place.target).note(timed.latency.reference_p50_ms)
        latency = benchmarking.with_drift(timed.latency, spread)
        noise = {"noise": latency.noise} if latency.noise else {}
        return replace(timed, latency=latency, conditions={**timed.conditions, **noise})

    def _score(self, place: StudyDevice, artifacts: RuntimeArtifacts, split: str, clock: StageTimer) -> Quality:
        shared = self.shared
        with clock.stage(place.stage(f"quality on {split}")) as progress, device_lock.computing(self.store.root):
            reference = self._logits(place, self.references[place.runtime], split, progress)
            logits = self._logits(place, artifacts[place.runtime], split, progress)
        return scoring.score(split, logits, reference, shared.tokens[split].labels, self.metric, shared.plan.seed)

    def _logits(self, place: StudyDevice, sha256: str, split: str, progress: Callable[[float], None]) -> np.ndarray:
        """Logits of an artifact on a split, kept: the rows that a score was taken on can be looked at again."""
        device, shared = place.target.device, self.shared
        where = {
            "threads": device.threads, "batch": device.batch, "cpu": place.target.cpu(), "runtime": device.runtime,
            "runtime_version": place.target.runtime_version(),
        }  # fmt: skip
        stage = outputs_stage(sha256, shared.data.fingerprint, split, where, shared.plan.task.max_tokens)

        def build(folder: Path) -> None:
            logits = benchmarking.logits_of(
                lambda feeds: place.target.run(self.store.artifact(sha256), feeds, progress),
                lambda rows: shared.arrays(split, rows),
                shared.lengths(split),
                device.batch,
            )
            np.save(folder / "logits.npy", logits)

        return np.asarray(np.load(self.store.stage(stage, build) / "logits.npy"))


def _silently(fraction: float) -> None:
    """No progress to show."""


def _reach(place: StudyDevice, look: Callable[[StudyDevice], Measured]) -> Measured:
    """What is seen there; whether the device was lost is remembered."""
    try:
        found = look(place)
    except DeviceLost:
        place.lost = True
        raise
    place.lost = False
    return found
