"""The stages of a trial: build, check the limits, train, deploy, measure. Each result is cached under its stage's key."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from autocompress import benchmarking
from autocompress.benchmarking.backends import SHORT_PATIENCE
from autocompress.config import LAST_RUNG, StudyPlan
from autocompress.core.agreement import Agreement
from autocompress.core.errors import AutocompressError, TrialStopped
from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.core.json_types import Json
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.recipe import Recipe
from autocompress.core.teacher_warning import TeacherWarning
from autocompress.core.trial_row import Outcome
from autocompress.data.source_files import describe_sources
from autocompress.deployment.deploy import deploy
from autocompress.models.candidate import Candidate
from autocompress.runtimes import load_runtime_of
from autocompress.search.adoption import adopt_stages
from autocompress.search.candidate_training import CandidateTraining
from autocompress.search.device_measurement import RuntimeArtifacts, StudyDevices
from autocompress.search.jobs import AdmissionLimits, RunSettings
from autocompress.search.pricing import check_latency, check_predicted_latency, check_size
from autocompress.search.stage_timer import ReportProgress, StageTimer
from autocompress.search.study_context import StudyContext
from autocompress.search.teacher_check import TeacherCheck
from autocompress.storage import device_lock
from autocompress.storage.artifact_store import Store
from autocompress.study.trial_details import read_conditions_of_artifacts


class TrialPipeline:
    """Runs the jobs of a worker within the context of its study."""

    def __init__(self, plan: StudyPlan, store: Store, offline: bool = True) -> None:
        self.store = store
        adopt_stages(store, plan.seed, _read_conditions(plan))
        self.context = StudyContext(plan, store, offline)
        self.training = CandidateTraining(self.context)
        self.devices = StudyDevices(self.context)

    @property
    def plan(self) -> StudyPlan:
        """The plan, with the amounts of training that are in force."""
        return self.context.plan

    def apply_settings(self, settings: RunSettings) -> None:
        """Apply settings that were decided after this pipeline was opened."""
        self.devices.references = settings.references or self.devices.references
        self.devices.times_beside_teacher = settings.times_beside_teacher
        if settings.recovery is not None and settings.recovery != self.plan.recovery:
            self.context.apply_recovery(settings.recovery)

    def run_teacher(self, report_progress: ReportProgress) -> Outcome:
        """Measure trial 0: the teacher's own fp32 artifact, the reference of all others."""
        start, timer, context = time.perf_counter(), StageTimer(report_progress), self.context
        with timer.stage("reading the data"):
            context.data.tokens  # noqa: B018  # read and tokenized here, so that its errors come first
        model = context.teacher.load(timer)
        layers = tuple(range(context.teacher.layer_count))
        candidate = Candidate(context.teacher.recipe, model, context.teacher.family, layers)
        self.devices.references = self._deploy(candidate, timer)
        outcome = self._measure(candidate, self.devices.references, timer, start, require_all=True)
        origin = {
            "data": context.data.splits.fingerprint,
            "sources": describe_sources(self.plan),
            "versions": benchmarking.versions(),
        }
        tuning = context.teacher.fine_tuning
        training = {} if tuning is None else {"fine_tuning": tuning}
        warnings = [asdict(warning) for warning in self._check_teacher(training, timer)]
        self.devices.time_teacher()
        return replace(outcome, facts={**outcome.facts, **origin, **training, "warnings": warnings})

    def measure_shared_rates(self, report_progress: ReportProgress) -> tuple[float, float]:
        """Return the seconds of the teacher's outputs on one row, and of one step of the super-net, if any, on all cores."""
        timer, context = StageTimer(report_progress), self.context
        context.teacher.load(timer)
        importance = context.importance(timer)
        with timer.stage("calibrating"), device_lock.share(self.store.root):
            rates = context.rates()
            step = rates.supernet_step_seconds(importance, context.space) if context.earlier is None else 0.0
            return rates.label_seconds(), step

    def measure_worker_rates(self, report_progress: ReportProgress) -> dict[str, Any]:
        """Return the seconds of a training step of a medium-sized candidate in this worker, the number of rows, and the amounts
        of the cached super-net."""
        timer, context = StageTimer(report_progress), self.context
        candidate = context.build(context.teacher.load(timer), context.space.medium_recipe(), timer)
        with timer.stage("calibrating"), device_lock.share(self.store.root):
            step = context.rates().candidate_step_seconds(candidate)
        splits = context.data.splits
        trained = context.trained_supernet() if self.plan.engine.reuse else {}
        return {"step": step, "rows": len(splits.train), "further": len(splits.unlabelled), "trained": trained}

    def run_shared(self, report_progress: ReportProgress) -> None:
        """Compute the stages that every trial needs before the first trial starts."""
        timer, context = StageTimer(report_progress), self.context
        context.teacher.load(timer)
        context.importance(timer)
        if context.space.needs_training and self.plan.recovery.epochs > 0:
            context.targets(timer)
        self.devices.time_teacher()
        if context.space.needs_training and self.plan.engine.supernet:
            context.supernet(timer)
            self.devices.time_teacher()

    def run_trial(
        self, recipe: Recipe, rung: int, limits: AdmissionLimits | None, report_progress: ReportProgress
    ) -> Outcome:
        """Build a candidate, train it up to its rung and measure it; stop it where it exceeds a limit."""
        self.devices.set_patience(SHORT_PATIENCE)
        start, timer, context = time.perf_counter(), StageTimer(report_progress), self.context
        teacher, structure = context.teacher.load(timer), context.structure(recipe, timer)
        with timer.stage("building"):
            candidate = context.build(teacher, recipe, timer)
        try:
            if limits is not None:
                check_predicted_latency(candidate, limits)
            if limits is not None and limits.measure_untrained:
                self._check_limits(candidate, limits, timer)
        except TrialStopped as stop:
            seconds, facts = (
                time.perf_counter() - start,
                {**describe_structure(candidate), "structure": structure.as_json()},
            )
            return Outcome(state="stopped", reason=str(stop), seconds=seconds, stages=timer.seconds, facts=facts)
        was_trained = self.training.bring_to_rung(candidate, rung, timer)
        artifacts = self._deploy(candidate, timer)
        # other recipes with known weights come by the dozen: a quick measurement must do
        is_new = was_trained or recipe.shares_weights(context.teacher.recipe)
        thorough = context.earlier is not None or (rung == LAST_RUNG and is_new)
        outcome = self._measure(candidate, artifacts, timer, start, thorough)
        return replace(outcome, facts={**outcome.facts, "structure": structure.as_json()})

    def rebuild(self, recipe: Recipe, rung: int | None, report_progress: ReportProgress) -> Candidate:
        """Return the candidate of a finished trial with its trained weights; train again where the cache dropped them."""
        timer, context = StageTimer(report_progress), self.context
        context.data.tokens  # noqa: B018  # as in a trial: from now on the tokenizer cuts texts at max_tokens
        candidate = context.build(context.teacher.load(timer), recipe, timer)
        self.training.bring_to_rung(candidate, LAST_RUNG if rung is None else rung, timer)
        return candidate

    def run_other_devices(
        self, recipe: Recipe, rung: int, names: Sequence[str], report_progress: ReportProgress
    ) -> dict[str, Measurement]:
        """Measure a finished trial on devices that were unreachable before, by name; skip those that still are."""
        self.devices.set_patience()
        timer = StageTimer(report_progress)
        artifacts = self._deploy(self.rebuild(recipe, rung, report_progress), timer)
        return self.devices.measure_on(names, artifacts, benchmarking.THOROUGH_TIMING, timer)

    def run_test(
        self, artifacts: RuntimeArtifacts, report_progress: ReportProgress
    ) -> tuple[Quality, dict[str, Quality]]:
        """Return a trial's quality on the test split against the teacher's artifact, and that on other devices, by name."""
        self.devices.set_patience()
        return self.devices.score(artifacts, "test", StageTimer(report_progress))

    def run_agreement(self, artifacts: RuntimeArtifacts, parts: int, report_progress: ReportProgress) -> Agreement:
        """Compare a trial's artifact with the teacher's on the first parts of the agreement rows."""
        self.devices.set_patience()
        return self.devices.compare(artifacts, parts, StageTimer(report_progress))

    def write_artifact(self, candidate: Candidate, folder: Path, runtime: str) -> None:
        """Fill a folder with the artifact of a candidate for a runtime."""
        data = self.context.data_for(candidate.recipe)
        data.tokens  # noqa: B018  # from then on its tokenizer cuts texts at max_tokens
        deploy(candidate, data.tokenizer, data.interface, runtime, folder, data.calibration_inputs)

    def _check_teacher(self, training: Json, timer: StageTimer) -> tuple[TeacherWarning, ...]:
        """Return what is wrong with the teacher, whose artifact is measured."""
        outputs = self.devices.outputs(self.devices.references, "validation", timer)
        context, record = self.context, FineTuningRecord.from_facts(training)
        with timer.stage("checking the teacher"), device_lock.share(self.store.root):
            return TeacherCheck(self.plan, context.data, outputs, self.devices.metric, record, context.offline).run()

    def _check_limits(self, candidate: Candidate, limits: AdmissionLimits, timer: StageTimer) -> None:
        """Measure the untrained artifact; raise TrialStopped where it is over a limit."""
        with timer.stage("pricing"), tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with device_lock.share(self.store.root):
                self.write_artifact(candidate, folder, self.plan.device.runtime)
            size = benchmarking.size_mb(load_runtime_of(folder), folder)
            check_size(size, limits)
            latency = self.devices.time(folder, benchmarking.QUICK_TIMING).latency
        check_latency(latency, size, limits)

    def _deploy(self, candidate: Candidate, timer: StageTimer) -> dict[str, str]:
        """Make one artifact for each runtime of the study's devices; return runtime -> sha256."""
        with timer.stage("deploying"), device_lock.share(self.store.root):
            return {
                runtime: self.store.add_artifact(partial(self.write_artifact, candidate, runtime=runtime))
                for runtime in self.devices.runtimes
            }

    def _measure(
        self,
        candidate: Candidate,
        artifacts: RuntimeArtifacts,
        timer: StageTimer,
        start: float,
        thorough: bool = True,
        require_all: bool = False,
    ) -> Outcome:
        """Measure a candidate's artifacts; return the complete outcome of a trial that began at `start`."""
        budget = benchmarking.THOROUGH_TIMING if thorough else benchmarking.QUICK_TIMING
        measurement, other_devices = self.devices.measure(artifacts, budget, timer, require_all)
        facts = {**describe_structure(candidate), **self.devices.facts(artifacts)}
        seconds = time.perf_counter() - start
        return Outcome(
            state="complete", measurement=measurement, other_devices=other_devices,
            sha256=artifacts[self.plan.device.runtime], seconds=seconds, stages=timer.seconds, facts=facts,
        )  # fmt: skip


def describe_structure(candidate: Candidate) -> dict[str, Any]:
    """Return the structure of a candidate: parameters, kept layers, heads and neurons of each."""
    return {
        "parameters": candidate.parameters,
        "kept_layers": list(candidate.kept_layers),
        "heads": list(candidate.heads),
        "neurons": list(candidate.neurons),
    }


def _read_conditions(plan: StudyPlan) -> Mapping[str, Any]:
    """Return the conditions that the study's artifacts were measured under; none where the study is not begun."""
    try:
        return read_conditions_of_artifacts(plan.storage, plan.study)
    except AutocompressError:
        return {}
