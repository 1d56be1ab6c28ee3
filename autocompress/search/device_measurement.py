"""Measure artifacts on the devices of a study against the teacher's artifact. The first device drives the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from autocompress import benchmarking, metrics
from autocompress.benchmarking import Feeds, TimingBudget, scoring
from autocompress.benchmarking.backends import ArtifactTiming, Backend, ReferenceTiming, TeacherTiming, open_backend
from autocompress.core.agreement import Agreement
from autocompress.core.errors import DeviceLost
from autocompress.core.measurement import Measurement, Quality, Timing
from autocompress.data.ragged import Ragged, load_outputs, save_outputs
from autocompress.deployment.companion_files import read_recipe
from autocompress.runtimes import load_runtime_of
from autocompress.search.stage_keys import data_stages, outputs_stage
from autocompress.search.stage_timer import StageTimer
from autocompress.search.study_context import StudyContext
from autocompress.search.study_data import StudyData
from autocompress.search.timing_reference import deploy_timing_reference
from autocompress.storage import device_lock
from autocompress.tasks import Tokens

RuntimeArtifacts = Mapping[str, str]  # of one candidate: runtime -> sha256
LOST_PATIENCE = 2.0  # seconds, for a device that was lost at its last use
Measured = TypeVar("Measured", Measurement, Quality)


@dataclass(kw_only=True)
class StudyDevice:
    """One device of a study."""

    name: str | None  # null: the first device
    backend: Backend
    lost: bool = False  # it did not answer at its last use

    @property
    def runtime(self) -> str:
        """The runtime that artifacts run in on the device."""
        return self.backend.device.runtime

    def stage_name(self, name: str) -> str:
        """Return the name of a stage on this device, for people."""
        return name if self.name is None else f"{name}, on {self.name}"


class StudyDevices:
    """Measures artifacts on all devices of a study."""

    def __init__(self, context: StudyContext) -> None:
        self.context, self.store = context, context.store
        plan = context.plan
        backends = [
            open_backend(device, plan.place(key_path), self.store.root, plan.seed, print)
            for key_path, device in plan.by_key_path.items()
        ]
        self.devices = [
            StudyDevice(name=name, backend=backend)
            for name, backend in zip((None, *plan.others), backends, strict=True)
        ]
        self.metric = metrics.load_metric(plan.task.metric)
        task = context.data.task
        metrics.check_fit(self.metric, task.predicts, task.name, plan.place("task.metric"))
        self.references: RuntimeArtifacts = {}  # the teacher's artifacts
        self.times_beside_teacher = False  # as a study that began so goes on

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that a candidate is deployed for, the first device's first."""
        return tuple(dict.fromkeys(device.runtime for device in self.devices))

    def measure(
        self, artifacts: RuntimeArtifacts, budget: TimingBudget, timer: StageTimer, require_all: bool = False
    ) -> tuple[Measurement, dict[str, Measurement]]:
        """Measure latency, size, memory and validation quality on the first device, and on the secondary ones, by name.

        DeviceLost where the first device is unreachable. Unreachable secondary devices are skipped unless `require_all`.
        """
        first = _note_reach(self.devices[0], lambda device: self._measure_on(device, artifacts, budget, timer))
        names = [str(device.name) for device in self.devices[1:]]
        return replace(first, sha256=None), self.measure_on(names, artifacts, budget, timer, require_all)

    def measure_on(
        self,
        names: Sequence[str],
        artifacts: RuntimeArtifacts,
        budget: TimingBudget,
        timer: StageTimer,
        require_all: bool = False,
    ) -> dict[str, Measurement]:
        """Measure like `measure`, on some of the secondary devices."""
        first_sha256 = artifacts[self.devices[0].runtime]
        measurements = self._use_reachable(
            names, lambda device: self._measure_on(device, artifacts, budget, timer), require_all
        )
        return {
            name: replace(measurement, sha256=None) if measurement.sha256 == first_sha256 else measurement
            for name, measurement in measurements.items()
        }

    def score(self, artifacts: RuntimeArtifacts, split: str, timer: StageTimer) -> tuple[Quality, dict[str, Quality]]:
        """Score a candidate on a split against the teacher, on the first device, and on the reachable secondary ones, by
        name."""
        first = _note_reach(self.devices[0], lambda device: self._score_on(device, artifacts, split, timer))
        names = [  # without an artifact the device was unreachable when the candidate was deployed
            str(device.name) for device in self.devices[1:] if device.runtime in artifacts
        ]
        return first, self._use_reachable(names, lambda device: self._score_on(device, artifacts, split, timer))

    def compare(self, artifacts: RuntimeArtifacts, parts: int, timer: StageTimer) -> Agreement:
        """Compare a candidate with the teacher on the first `parts` parts of the agreement rows, on the first device."""
        device, data = self.devices[0], self.context.data
        sha256, reference = artifacts[device.runtime], self.references[device.runtime]
        names = data.splits.agreement_parts[:parts]
        with timer.stage("agreement with the teacher") as progress, device_lock.share(self.store.root):
            known = self._outputs_on(device, reference, "validation", progress)
            expected, outputs = (
                Ragged.join([self._outputs_on(device, model, name, progress) for name in names])
                for model in (reference, sha256)
            )
        tokens, labelled = Tokens.join([data.tokens[name] for name in names]), data.splits.has_agreement_labels
        return scoring.compare(data.task, outputs, expected, tokens, self.metric, self.context.plan.seed,
                               (known, data.tokens["validation"]), labelled)  # fmt: skip

    def facts(self, artifacts: RuntimeArtifacts) -> dict[str, object]:
        """Return the task's facts of a candidate beside the teacher: what both predict of the validation rows, on the first
        device.

        Outputs that are cached are not computed again.
        """
        device, data = self.devices[0], self.context.data
        tokens = data.tokens["validation"]
        outputs, teacher = (
            self._outputs_on(device, of_runtime[device.runtime], "validation", _ignore_progress)
            for of_runtime in (artifacts, self.references)
        )
        predicted, expected = data.task.predict(outputs, tokens), data.task.predict(teacher, tokens)
        return data.task.facts(predicted, expected, data.task.references(tokens, teacher), data.splits)

    def outputs(self, artifacts: RuntimeArtifacts, split: str, timer: StageTimer) -> Ragged:
        """Return the outputs (units, width) of a candidate on a split, on the first device."""
        first = self.devices[0]
        with timer.stage(f"quality on {split}") as progress, device_lock.share(self.store.root):
            return self._outputs_on(first, artifacts[first.runtime], split, progress)

    def time(self, folder: Path, budget: TimingBudget) -> Timing:
        """Time an artifact on the first device."""
        return self._time_on(self.devices[0], folder, budget)

    def time_teacher(self) -> None:
        """Time the teacher on the first device where that is due; skip it where the device is unreachable."""
        first = self.devices[0]
        with suppress(DeviceLost):
            self._timing_on(first).time_teacher(self._feeds(first, self.context.data))

    def set_patience(self, share: float = 1.0) -> None:
        """Set how long to wait for unreachable devices from now on, as a fraction of the study file's `patience`."""
        for device in self.devices:
            patience = share * device.backend.device.patience
            device.backend.patience = min(LOST_PATIENCE, patience) if device.lost else patience

    def _use_reachable(
        self, names: Sequence[str], use: Callable[[StudyDevice], Measured], require_all: bool = False
    ) -> dict[str, Measured]:
        """Return the results of `use` on the devices of these names; skip unreachable ones unless `require_all`."""
        results = {}
        for device in self.devices:
            if device.name is None or device.name not in names:
                continue
            try:
                results[device.name] = _note_reach(device, use)
            except DeviceLost:
                if require_all:
                    raise
        return results

    def _measure_on(
        self, device: StudyDevice, artifacts: RuntimeArtifacts, budget: TimingBudget, timer: StageTimer
    ) -> Measurement:
        sha256 = artifacts[device.runtime]
        folder = self.store.artifact(sha256)
        with timer.stage(device.stage_name("measuring latency")):
            timing = self._time_on(device, folder, budget)
        return Measurement(
            quality=self._score_on(device, artifacts, "validation", timer),
            latency=timing.latency,
            size_mb=benchmarking.size_mb(load_runtime_of(folder), folder),
            memory_mb=timing.memory_mb,
            start_ms=timing.start_ms,
            text_ms=self._time_texts(device, folder) if budget is benchmarking.THOROUGH_TIMING else None,
            download_mb=benchmarking.download_mb(folder),
            sha256=sha256,
            conditions=timing.conditions,
        )

    def _time_on(self, device: StudyDevice, folder: Path, budget: TimingBudget) -> Timing:
        return self._timing_on(device).time(
            folder, self._feeds(device, self.context.data_for(read_recipe(folder))), budget
        )

    def _timing_on(self, device: StudyDevice) -> ArtifactTiming:
        """Return how artifacts are timed on a device: beside the timing reference, or beside the teacher where that was so
        from the study's first trial on, or where the teacher cannot be cut down."""
        teacher, runtime = self.references[device.runtime], device.runtime
        reference = None if self.times_beside_teacher else deploy_timing_reference(self.context, runtime)
        if reference is None:
            return TeacherTiming(device.backend, self.store, teacher)
        return ReferenceTiming(device.backend, self.store, teacher, reference)

    def _feeds(self, device: StudyDevice, data: StudyData) -> Feeds:
        """Return the inputs to time a model with that reads `data`."""
        settings, lengths = device.backend.device, data.lengths("validation")
        seed = self.context.plan.seed
        return benchmarking.latency_feeds(len(data.tokenizer), settings.batch, settings.tokens, lengths, seed)

    def _time_texts(self, device: StudyDevice, folder: Path) -> float | None:
        """Return the milliseconds from a text of the validation split to its label."""
        rows, has_pairs = self.context.data.splits.validation, self.context.data.interface.has_pairs
        pairs = rows.pairs if has_pairs and rows.pairs is not None else (None,) * len(rows)
        return device.backend.time_texts(folder, list(zip(rows.texts, pairs, strict=True))[: benchmarking.MOST_TEXTS])

    def _score_on(self, device: StudyDevice, artifacts: RuntimeArtifacts, split: str, timer: StageTimer) -> Quality:
        context, stage = self.context, device.stage_name(f"quality on {split}")
        with timer.stage(stage) as progress, device_lock.share(self.store.root):
            reference = self._outputs_on(device, self.references[device.runtime], split, progress)
            outputs = self._outputs_on(device, artifacts[device.runtime], split, progress)
        data = context.data
        return scoring.score(split, data.task, outputs, reference, data.tokens[split], self.metric, context.plan.seed)

    def _outputs_on(self, device: StudyDevice, sha256: str, split: str, progress: Callable[[float], None]) -> Ragged:
        """Return the outputs of an artifact on a split, cached: the rows behind a score can be inspected later."""
        settings, context = device.backend.device, self.context
        where = {
            "threads": settings.threads, "batch": settings.batch, "cpu": device.backend.cpu(),
            "runtime": settings.runtime, "runtime_version": device.backend.runtime_version(),
        }  # fmt: skip
        recipe = read_recipe(self.store.artifact(sha256))
        data, fingerprint = context.data_for(recipe), context.data.splits.fingerprint
        stage = outputs_stage(sha256, fingerprint, split, where, context.plan.task.max_tokens, data_stages(recipe))

        def build(folder: Path) -> None:
            lengths = data.lengths(split)
            outputs = benchmarking.outputs_of(
                lambda feeds: device.backend.run(self.store.artifact(sha256), feeds, progress),
                lambda rows: data.arrays(split, rows),
                lengths,
                data.task.unit_counts(lengths),
                settings.batch,
            )
            save_outputs(outputs, folder)

        return load_outputs(self.store.stage(stage, build))


def _ignore_progress(fraction: float) -> None:
    """Ignore the progress of a measurement."""


def _note_reach(device: StudyDevice, use: Callable[[StudyDevice], Measured]) -> Measured:
    """Call `use` on a device and return its result; record on the device whether it was lost."""
    try:
        result = use(device)
    except DeviceLost:
        device.lost = True
        raise
    device.lost = False
    return result
