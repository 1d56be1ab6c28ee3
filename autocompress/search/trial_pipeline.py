"""The life of one trial: build, price, recover, deploy, measure. Each stage's result is kept under the hash of its inputs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from autocompress import benchmarking
from autocompress.benchmarking.backends import SHORT_PATIENCE
from autocompress.config import LAST_RUNG, StudyPlan
from autocompress.core.errors import AutocompressError, TrialStopped
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.recipe import AFTER_RECOVERY, Recipe
from autocompress.core.trial_row import Outcome
from autocompress.deployment import deploy
from autocompress.models import slicing
from autocompress.runtimes import runtime_of
from autocompress.search.adoption import adopt_stages
from autocompress.search.device_measurement import RuntimeArtifacts, StudyDevices
from autocompress.search.jobs import AdmissionLimits, RunSettings
from autocompress.search.study_context import ReportProgress, StageTimer, StudyContext
from autocompress.selection.latency_model import Shape
from autocompress.storage import device_lock
from autocompress.storage.artifact_store import Store
from autocompress.study.trial_details import read_conditions_of_artifacts
from autocompress.training import distillation, least_squares

REFIT_SHARE = 0.1  # of a recovery's time, for its progress display


class TrialPipeline:
    """Runs the trials of one study on what they share."""

    def __init__(self, plan: StudyPlan, store: Store, offline: bool = True) -> None:
        self.plan, self.store = plan, store
        adopt_stages(store, plan.seed, _conditions(plan))
        self.shared = StudyContext(plan, store, offline)
        self.devices = StudyDevices(self.shared)

    def settle(self, settings: RunSettings) -> None:
        """Take over what was decided since this pipeline was opened."""
        self.devices.references = settings.references or self.devices.references
        if settings.recovery is not None and settings.recovery != self.plan.recovery:
            self.plan = self.shared.plan = self.plan.model_copy(update={"recovery": settings.recovery})

    def run_teacher(self, report_progress: ReportProgress) -> Outcome:
        """Trial 0: the teacher's own fp32 artifact, which every other is measured against."""
        start, clock = time.perf_counter(), StageTimer(report_progress)
        with clock.stage("reading the data"):
            self.shared.tokens  # noqa: B018  # read and tokenized here, so that its errors come first
        model = self.shared.teacher_model(clock)
        recipe = Recipe(depth=len(self.shared.family.layers(model)))
        candidate = slicing.Candidate(recipe, model, self.shared.family, tuple(range(recipe.depth or 0)))
        self.devices.references = self._deploy(candidate, clock)
        outcome = self._measured(candidate, self.devices.references, clock, start, all_of_them=True)
        return replace(
            outcome, facts={**outcome.facts, "data": self.shared.data.fingerprint, "versions": benchmarking.versions()}
        )

    def shared_rates(self, report_progress: ReportProgress) -> tuple[float, float]:
        """Seconds to take the teacher's outputs on one row, and of one step of the super-net, on as many cores as there are."""
        clock = StageTimer(report_progress)
        self.shared.teacher_model(clock)
        worth = self.shared.importance(clock)
        with clock.stage("calibrating"), device_lock.computing(self.store.root):
            return self.shared.label_seconds(), self.shared.supernet_step_seconds(worth)

    def own_rates(self, report_progress: ReportProgress) -> dict[str, Any]:
        """Seconds of one training step of a middling candidate in this worker, how many rows there are, and what of the
        super-net is there already."""
        clock = StageTimer(report_progress)
        teacher, worth = self.shared.teacher_model(clock), self.shared.importance(clock)
        layers = len(self.shared.family.layers(teacher))
        recipe = Recipe(depth=-(-2 * layers // 3), head_sparsity=0.5, ffn_sparsity=0.5)
        candidate = slicing.build_candidate(teacher, recipe, worth)
        with clock.stage("calibrating"), device_lock.computing(self.store.root):
            step = self.shared.step_seconds(candidate)
        data = self.shared.data
        trained = self.shared.trained_supernet() if self.plan.engine.reuse else {}
        return {"step": step, "rows": len(data.train), "further": len(data.unlabelled), "trained": trained}

    def run_shared(self, report_progress: ReportProgress) -> None:
        """What every trial needs of the teacher, computed before the first one starts: trials would wait for it."""
        clock = StageTimer(report_progress)
        self.shared.teacher_model(clock)
        self.shared.importance(clock)
        if all(name in AFTER_RECOVERY for name in self.plan.space):
            return  # bits alone: nothing is recovered
        if self.plan.recovery.epochs > 0:
            self.shared.targets(clock)
        if self.plan.engine.supernet:
            self.shared.supernet(clock)

    def run_trial(
        self, recipe: Recipe, rung: int, bar: AdmissionLimits | None, report_progress: ReportProgress
    ) -> Outcome:
        """One candidate from recipe to measurement, trained as far as its rung; stopped where its price is over the bar."""
        self.devices.set_patience(SHORT_PATIENCE)
        start, clock = time.perf_counter(), StageTimer(report_progress)
        teacher, worth = self.shared.teacher_model(clock), self.shared.importance(clock)
        with clock.stage("building"):
            candidate = slicing.build_candidate(teacher, recipe, worth)
        try:
            if bar is not None:
                _predict_price(candidate, bar)
            if bar is not None and bar.measured:
                self._price(candidate, bar, clock)
        except TrialStopped as stop:
            return Outcome(
                state="stopped", reason=str(stop), seconds=time.perf_counter() - start, stages=clock.seconds,
                facts=facts(candidate),
            )  # fmt: skip
        trained = self._recover(candidate, rung, clock)
        artifacts = self._deploy(candidate, clock)
        # other bits of known weights come by the dozen: a quick look must do
        thorough = rung == LAST_RUNG and (trained or self._whole(recipe))
        return self._measured(candidate, artifacts, clock, start, thorough)

    def rebuild(self, recipe: Recipe, rung: int | None, report_progress: ReportProgress) -> slicing.Candidate:
        """The candidate of a finished trial with its recovered weights; trains again where the store dropped them."""
        clock = StageTimer(report_progress)
        self.shared.tokens  # noqa: B018  # as in a trial: from now on the tokenizer cuts texts at max_tokens
        candidate = slicing.build_candidate(self.shared.teacher_model(clock), recipe, self.shared.importance(clock))
        self._recover(candidate, LAST_RUNG if rung is None else rung, clock)
        return candidate

    def run_other_devices(
        self, recipe: Recipe, rung: int, names: Sequence[str], report_progress: ReportProgress
    ) -> dict[str, Measurement]:
        """A finished trial on further devices that were out of reach when it was measured; by name, where they still are
        left out."""
        self.devices.set_patience()
        clock = StageTimer(report_progress)
        artifacts = self._deploy(self.rebuild(recipe, rung, report_progress), clock)
        return self.devices.measure_on(names, artifacts, benchmarking.THOROUGH_TIMING, clock)

    def run_test(
        self, artifacts: RuntimeArtifacts, report_progress: ReportProgress
    ) -> tuple[Quality, dict[str, Quality]]:
        """Quality of a trial on the test split, against the teacher's artifact; and on further devices, by name."""
        self.devices.set_patience()
        return self.devices.score(artifacts, "test", StageTimer(report_progress))

    def _whole(self, recipe: Recipe) -> bool:
        """Whether the recipe leaves the teacher's weights as they are."""
        return recipe.structure() == Recipe(depth=len(self.shared.family.layers(self.shared.teacher)))

    def _price(self, candidate: slicing.Candidate, bar: AdmissionLimits, clock: StageTimer) -> None:
        """Latency and size of the untrained artifact: they depend on shapes and bits, hardly on weights."""
        with clock.stage("pricing"), tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            with device_lock.computing(self.store.root):
                self._fill(candidate, place, self.plan.device.runtime)
            size = benchmarking.size_mb(runtime_of(place), place)
            if bar.max_size_mb is not None and size > bar.max_size_mb:
                raise TrialStopped(f"size {size:.1f} MB is over max_size_mb {bar.max_size_mb:g}; not trained")
            latency = self.devices.time(place, benchmarking.QUICK_TIMING).latency
        if bar.max_latency_ms is not None and bar.teacher_latency_ms is not None:
            milliseconds = bar.teacher_latency_ms / latency.speedup_interval.high
            if milliseconds > bar.max_latency_ms:
                raise TrialStopped(
                    f"latency {milliseconds:.2f} ms is over max_latency_ms {bar.max_latency_ms:g}; not trained"
                )
        for speedup, other_size in bar.unbeaten:
            if speedup > latency.speedup_interval.high and other_size <= size:
                raise TrialStopped(
                    f"{latency.speedup:.1f}× and {size:.1f} MB cannot enter the front: another trial has"
                    f" {speedup:.1f}× and {other_size:.1f} MB without losing quality; not trained"
                )

    def _recover(self, candidate: slicing.Candidate, rung: int, clock: StageTimer) -> bool:
        """Train the candidate's structure as far as its rung, or load it where it was trained before: one recovery serves
        every bit-width, and each rung goes on from the weights of the one below. Whether it was trained now."""
        if self._whole(candidate.recipe):
            return False
        trained = False

        def train(place: Path) -> None:
            nonlocal trained
            self._train(candidate, rung, place, progress, clock)
            trained = True

        with clock.stage("recovery") as progress:
            folder = self.store.stage(self.shared.stages.weights(candidate.recipe, rung), train)
        candidate.model.load_state_dict(load_file(folder / "model.safetensors"))
        return trained

    def _is_first(self, rung: int) -> bool:
        """Whether a rung starts from what all candidates share, and not from the weights of the rung below."""
        return rung == 0 or not self.plan.engine.rungs

    def _prepare(self, candidate: slicing.Candidate, rung: int, clock: StageTimer) -> distillation.Targets | None:
        """What a rung's training starts from: stages of their own, with their own progress."""
        first, engine = self._is_first(rung), self.plan.engine
        if not first:
            self._recover(candidate, rung - 1, clock)
        elif engine.supernet:
            self.shared.supernet(clock)
        taught = self.plan.recovery.epochs_at(rung) > 0
        return self.shared.targets(clock) if taught or (first and engine.supernet) else None

    def _train(
        self,
        candidate: slicing.Candidate,
        rung: int,
        folder: Path,
        progress: Callable[[float], None],
        clock: StageTimer,
    ) -> None:
        targets = self._prepare(candidate, rung, clock)
        settings, epochs = self.plan.recovery, self.plan.recovery.epochs_at(rung)
        first = self._is_first(rung)
        share = 0.0 if not first else REFIT_SHARE if epochs > 0 else 1.0  # of the progress, before training
        torch.manual_seed(self.plan.seed)
        with device_lock.training(self.store.root) as pause:
            step = pause(progress)
            if first:
                self._start(candidate, targets, lambda done: step(share * done), clock)
            if targets is not None and epochs > 0:
                distillation.distil(
                    candidate,
                    targets,
                    self.shared.distillation_batch,
                    self.shared.lengths("distillation"),
                    len(self.shared.lengths("train")),
                    settings,
                    self.plan.seed + rung,  # each rung sees the rows in another order
                    lambda done: step(share + (1 - share) * done),
                    epochs=epochs,
                )
        weights = {name: tensor.contiguous() for name, tensor in candidate.model.state_dict().items()}
        save_file(weights, folder / "model.safetensors")

    def _start(
        self,
        candidate: slicing.Candidate,
        targets: distillation.Targets | None,
        progress: Callable[[float], None],
        clock: StageTimer,
    ) -> None:
        """The weights that training starts from: cut from the super-net, or refit ones of the teacher's.

        Where no layer is removed, or attention is not full, both are tried, and those taken that are nearer to the teacher:
        with fewer layers the super-net's always were.
        """
        engine = self.plan.engine
        cut = None
        if engine.supernet and targets is not None:
            net, worth = self.shared.supernet(clock), self.shared.importance(clock)
            cut = slicing.build_candidate(net, candidate.recipe, worth)
        every_layer = len(candidate.kept_layers) == len(self.shared.family.layers(self.shared.teacher))
        if engine.refit and (cut is None or every_layer or candidate.recipe.attention != "full"):
            rows = self.shared.sample_of_distillation_set()
            batches = [self.shared.distillation_batch(part) for part in rows]
            least_squares.refit(candidate, self.shared.forward, batches, progress)
            if cut is not None and targets is not None:
                heat = self.plan.recovery.temperature
                mine, others = (distillation.divergence(one, targets, batches, rows, heat) for one in (candidate, cut))
                cut = cut if others < mine else None
        if cut is not None:
            candidate.model.load_state_dict(cut.model.state_dict())

    def _deploy(self, candidate: slicing.Candidate, clock: StageTimer) -> dict[str, str]:
        """One artifact for each runtime of the study's devices: runtime -> sha256."""
        with clock.stage("deploying"), device_lock.computing(self.store.root):
            return {
                runtime: self.store.add_artifact(partial(self._fill, candidate, runtime=runtime))
                for runtime in self.devices.runtimes
            }

    def _fill(self, candidate: slicing.Candidate, folder: Path, runtime: str) -> None:
        pairs = self.plan.task.columns.text_pair is not None
        deploy.deploy(candidate, self.shared.tokenizer, pairs, runtime, folder, self.shared.some_inputs)

    def _measured(
        self,
        candidate: slicing.Candidate,
        artifacts: RuntimeArtifacts,
        clock: StageTimer,
        start: float,
        thorough: bool = True,
        all_of_them: bool = False,
    ) -> Outcome:
        effort = benchmarking.THOROUGH_TIMING if thorough else benchmarking.QUICK_TIMING
        measurement, other_devices = self.devices.measure(artifacts, effort, clock, all_of_them)
        known = {**facts(candidate), "recall": self.devices.recall(artifacts)}
        seconds = time.perf_counter() - start
        return Outcome(
            state="complete", measurement=measurement, other_devices=other_devices,
            sha256=artifacts[self.plan.device.runtime], seconds=seconds, stages=clock.seconds, facts=known,
        )  # fmt: skip


def _conditions(plan: StudyPlan) -> Mapping[str, Any]:
    """Under which conditions the study's artifacts were measured; nothing where the study is not begun."""
    try:
        return read_conditions_of_artifacts(plan.storage, plan.study)
    except AutocompressError:
        return {}


def _predict_price(candidate: slicing.Candidate, bar: AdmissionLimits) -> None:
    """Stop a candidate that is surely too slow, by what the device has shown so far."""
    if bar.max_latency_ms is None or bar.table is None:
        return
    predicted = bar.table.predict(Shape.of(candidate.recipe, candidate.heads, candidate.neurons))
    if predicted is not None and predicted * (1 - bar.table.error) > bar.max_latency_ms:
        raise TrialStopped(
            f"predicted latency {predicted:.2f} ms (± {100 * bar.table.error:.0f} %) is over max_latency_ms"
            f" {bar.max_latency_ms:g}; not built"
        )


def facts(candidate: slicing.Candidate) -> dict[str, Any]:
    """What a recipe became: parameters, kept layers, heads and neurons of each."""
    return {
        "parameters": candidate.parameters,
        "kept_layers": list(candidate.kept_layers),
        "heads": list(candidate.heads),
        "neurons": list(candidate.neurons),
    }
