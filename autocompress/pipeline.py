"""The life of one trial: build, price, recover, deploy, measure. Each stage's result is kept under the hash of its inputs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from autocompress import deploy, importance, lease, measure, metrics, recovery, registry, surgery, teacher
from autocompress.augment import UNLABELLED, Specials, augment
from autocompress.augment import VERSION as augmentation
from autocompress.errors import TrialStopped
from autocompress.families import family_of
from autocompress.forward import Forward
from autocompress.jobs import Bar
from autocompress.measurement import Latency, Measurement, Outcome, Quality
from autocompress.model_config import read_config
from autocompress.plan import StudyPlan
from autocompress.recipe import Recipe
from autocompress.store import Store, digest
from autocompress.training import ordered_batches

Say = Callable[[str, float], None]  # stage, fraction done


@dataclass
class _Clock:
    """Seconds of each stage of a trial."""

    say: Say
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        start = time.perf_counter()
        self.say(name, 0.0)
        try:
            yield lambda fraction: self.say(name, fraction)
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Pipeline:
    """Teacher, data and caches of one study, kept warm between trials."""

    def __init__(self, plan: StudyPlan, store: Store, offline: bool = True) -> None:
        self.plan, self.store, self.offline = plan, store, offline
        self.task = registry.load("tasks", plan.task.kind.replace("-", "_"))
        self.runtime = registry.load("runtimes", plan.device.runtime)
        self.metric = metrics.fast(plan.task.metric)
        self.reference_sha: str | None = None

    # ---- what all trials share ---------------------------------------------------------------------------------

    @cached_property
    def tokenizer(self) -> Any:
        return teacher.load_tokenizer(self.plan.teacher.model, self.offline)

    @cached_property
    def data(self) -> Any:
        config = read_config(self.plan.teacher.model, self.plan.place("teacher.model"), self.offline)
        return self.task.read(self.plan, config.id2label)

    @cached_property
    def tokens(self) -> dict[str, Any]:
        limit = self.plan.task.max_tokens
        splits = ("train", "validation", "test")
        tokens = {split: self.task.tokenize(getattr(self.data, split), self.tokenizer, limit) for split in splits}
        return tokens | {"lessons": self._lessons(tokens["train"])}

    def _lessons(self, train: Any) -> Any:
        """The training rows and varied copies of them, which only the teacher labels."""
        copies = self.plan.recovery.copies
        specials = Specials(frozenset(self.tokenizer.all_special_ids), self.tokenizer.mask_token_id)
        ids, types = augment(train.input_ids, train.token_type_ids, copies, specials, self.plan.seed)
        unlabelled = np.full(len(ids), UNLABELLED, np.int64)
        return replace(
            train,
            input_ids=(*train.input_ids, *ids),
            token_type_ids=None if types is None else (*train.token_type_ids, *types),
            labels=np.concatenate((train.labels, unlabelled)),
        )

    @cached_property
    def teacher_inputs(self) -> dict[str, Any]:
        """What the teacher is made from: the key of all that follows."""
        plan = self.plan
        tuned = plan.teacher.fine_tune
        return {
            "version": teacher.VERSION,
            "model": teacher.model_fingerprint(plan.teacher.model),
            "fine_tune": tuned.model_dump() if tuned else None,
            "data": self.data.fingerprint,
            "max_tokens": plan.task.max_tokens,
            "seed": plan.seed if tuned else None,
        }

    def lengths(self, split: str) -> list[int]:
        """Tokens of each row of a split."""
        return [len(ids) for ids in self.tokens[split].input_ids]

    def arrays(self, split: str, rows: np.ndarray, multiple: int = 1) -> dict[str, np.ndarray]:
        """The model's inputs for some rows of a split, padded to the longest."""
        padding = self.tokenizer.pad_token_id or 0
        inputs: dict[str, np.ndarray] = self.task.pad(self.tokens[split], rows, padding, multiple)
        return inputs

    def batch(self, rows: np.ndarray, split: str = "train") -> dict[str, torch.Tensor]:
        """A training batch: inputs and labels."""
        arrays = self.arrays(split, rows, multiple=8) | {"labels": self.tokens[split].labels[rows]}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def lesson(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """A batch of what candidates learn from."""
        return self.batch(rows, "lessons")

    def teacher_model(self, clock: _Clock) -> Any:
        """The teacher, fine-tuned where the plan asks for it."""
        names, tuned = self.data.label_names, self.plan.teacher.fine_tune
        if "teacher" not in self.__dict__:
            if tuned is None:
                self.teacher = teacher.load_teacher(self.plan.teacher.model, names, False, self.plan.seed, self.offline)
            else:
                with clock.stage("fine-tuning the teacher") as progress:
                    folder = self.store.stage(
                        "teacher", self.teacher_inputs, lambda place: self._fine_tune(place, progress)
                    )
                self.teacher = teacher.load_teacher(str(folder), names, False, self.plan.seed, offline=True)
            self.family = family_of(self.teacher.config.model_type)
        return self.teacher

    def _fine_tune(self, folder: Path, progress: Callable[[float], None]) -> None:
        plan = self.plan
        model = teacher.load_teacher(plan.teacher.model, self.data.label_names, True, plan.seed, self.offline)
        family = family_of(model.config.model_type)
        assert plan.teacher.fine_tune is not None  # only called where it is set
        with lease.training(self.store.root) as pause:
            teacher.fine_tune(
                model, family, self.batch, self.lengths("train"), plan.teacher.fine_tune, plan.seed, pause(progress)
            )
        teacher.save_teacher(model, self.tokenizer, folder)

    def importance(self, clock: _Clock) -> surgery.Importance:
        """What heads, neurons and layers are worth, on 512 training rows."""
        with clock.stage("importance"):
            folder = self.store.stage("importance", self._from_teacher(importance.VERSION), self._measure_importance)
        return importance.load(folder / "importance.npz")

    def _measure_importance(self, folder: Path) -> None:
        rows = np.random.default_rng(self.plan.seed).permutation(len(self.lengths("train")))[
            : importance.CALIBRATION_ROWS
        ]
        lengths = np.asarray(self.lengths("train"))[rows]
        batches = [self.batch(rows[part]) for part in ordered_batches(list(lengths), 32)]
        found = importance.measure_importance(Forward(self.teacher, self.family), batches)
        importance.save(found, folder / "importance.npz")

    def targets(self, clock: _Clock) -> recovery.Targets:
        """The teacher's outputs on the training rows."""
        with clock.stage("teacher outputs") as progress:
            folder = self.store.stage(
                "targets", self._lesson_inputs, lambda place: self._compute_targets(place, progress)
            )
        return recovery.Targets(np.load(folder / "logits.npy"), np.load(folder / "hidden.npy", mmap_mode="r"))

    def _compute_targets(self, folder: Path, progress: Callable[[float], None]) -> None:
        forward = Forward(self.teacher, self.family)
        found = recovery.teacher_targets(forward, self.lesson, self.lengths("lessons"), progress)
        np.save(folder / "logits.npy", found.logits)
        np.save(folder / "hidden.npy", found.hidden)

    @property
    def _lesson_inputs(self) -> dict[str, Any]:
        copies = {"copies": self.plan.recovery.copies, "augment": augmentation, "seed": self.plan.seed}
        return self._from_teacher(recovery.VERSION) | copies

    def _from_teacher(self, version: int) -> dict[str, Any]:
        return {"teacher": digest(self.teacher_inputs), "version": version}

    # ---- a trial -----------------------------------------------------------------------------------------------

    def run_teacher(self, say: Say) -> Outcome:
        """Trial 0: the teacher's own fp32 artifact, which every other is measured against."""
        start, clock = time.perf_counter(), _Clock(say)
        with clock.stage("reading the data"):
            self.tokens  # noqa: B018  # read and tokenized here, so that its errors come first
        model = self.teacher_model(clock)
        recipe = Recipe(depth=len(self.family.layers(model)))
        candidate = surgery.Candidate(recipe, model, self.family, tuple(range(recipe.depth or 0)))
        self.reference_sha = self._deploy(candidate, clock)
        outcome = self._measured(candidate, self.reference_sha, clock, start)
        return replace(outcome, facts={**outcome.facts, "data": self.data.fingerprint})

    def run_trial(self, recipe: Recipe, bar: Bar, say: Say) -> Outcome:
        """One candidate from recipe to measurement; stopped where its price does not pass the bar."""
        start, clock = time.perf_counter(), _Clock(say)
        model = self.teacher_model(clock)
        worth = self.importance(clock)
        with clock.stage("building"):
            candidate = surgery.build_candidate(model, recipe, worth)
        try:
            self._price(candidate, bar, clock)
        except TrialStopped as stop:
            return Outcome(
                state="stopped", reason=str(stop), seconds=time.perf_counter() - start, stages=clock.seconds,
                facts=facts(candidate),
            )  # fmt: skip
        self._recover(candidate, clock)
        sha256 = self._deploy(candidate, clock)
        return self._measured(candidate, sha256, clock, start)

    def rebuild(self, recipe: Recipe, say: Say) -> surgery.Candidate:
        """The candidate of a finished trial with its recovered weights; trains again where the store dropped them."""
        clock = _Clock(say)
        self.tokens  # noqa: B018  # as in a trial: from now on the tokenizer cuts texts at max_tokens
        model = self.teacher_model(clock)
        candidate = surgery.build_candidate(model, recipe, self.importance(clock))
        self._recover(candidate, clock)
        return candidate

    def run_test(self, sha256: str, say: Say) -> Quality:
        """Quality of an artifact on the test split, against the teacher's artifact."""
        clock = _Clock(say)
        return self._quality(sha256, "test", clock)

    def _price(self, candidate: surgery.Candidate, bar: Bar, clock: _Clock) -> None:
        """Latency and size of the untrained artifact: they depend on shapes and bits, hardly on weights."""
        with clock.stage("pricing"), tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            self._fill(candidate, place)
            size = measure.size_mb(self.runtime, place)
            if bar.max_size_mb is not None and size > bar.max_size_mb:
                raise TrialStopped(f"size {size:.1f} MB is over max_size_mb {bar.max_size_mb:g}; not trained")
            latency = self._latency(place, measure.QUICK)
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

    def _recover(self, candidate: surgery.Candidate, clock: _Clock) -> None:
        """Train the candidate's structure, or load it where it was trained before: one recovery serves every bit-width."""
        structure = candidate.recipe.structure()
        if structure == Recipe(depth=len(self.family.layers(self.teacher))):
            return  # nothing was removed: the teacher's own weights
        inputs = {
            **self._lesson_inputs,
            "structure": structure.as_dict(),
            "recovery": self.plan.recovery.model_dump(),
            "seed": self.plan.seed,
        }
        targets = None if self.store.has_stage("recovered", inputs) else self.targets(clock)
        with clock.stage("recovery") as progress:
            folder = self.store.stage(
                "recovered", inputs, lambda place: self._train(candidate, targets, place, progress)
            )
        candidate.model.load_state_dict(load_file(folder / "model.safetensors"))

    def _train(
        self,
        candidate: surgery.Candidate,
        targets: recovery.Targets | None,
        folder: Path,
        progress: Callable[[float], None],
    ) -> None:
        assert targets is not None  # computed by the caller whenever the stage is not there yet
        torch.manual_seed(self.plan.seed)
        with lease.training(self.store.root) as pause:
            recovery.recover(
                candidate,
                targets,
                self.lesson,
                self.lengths("lessons"),
                len(self.lengths("train")),
                self.plan.recovery,
                self.plan.seed,
                pause(progress),
            )
        weights = {name: tensor.contiguous() for name, tensor in candidate.model.state_dict().items()}
        save_file(weights, folder / "model.safetensors")

    def _deploy(self, candidate: surgery.Candidate, clock: _Clock) -> str:
        with clock.stage("deploying"):
            return self.store.add_artifact(lambda folder: self._fill(candidate, folder))

    def _fill(self, candidate: surgery.Candidate, folder: Path) -> None:
        pairs = self.plan.task.columns.text_pair is not None
        deploy.deploy(candidate, self.tokenizer, pairs, self.plan.device.runtime, folder)

    # ---- measuring ---------------------------------------------------------------------------------------------

    def _measured(self, candidate: surgery.Candidate, sha256: str, clock: _Clock, start: float) -> Outcome:
        folder, device = self.store.artifact(sha256), self.plan.device
        with clock.stage("measuring latency"):
            latency = self._latency(folder, measure.Effort())
            memory = measure.peak_memory_mb(self.runtime, folder, self._feeds[0], device.threads)
        quality = self._quality(sha256, "validation", clock)
        tokens: int | str = device.tokens
        measurement = Measurement(
            quality=quality,
            latency=latency,
            size_mb=measure.size_mb(self.runtime, folder),
            memory_mb=memory,
            conditions=measure.conditions(device.runtime, device.threads, device.batch, tokens, self.plan.seed),
        )
        seconds = time.perf_counter() - start
        return Outcome(
            state="complete", measurement=measurement, sha256=sha256, seconds=seconds, stages=clock.seconds,
            facts=facts(candidate),
        )  # fmt: skip

    def _latency(self, folder: Path, effort: measure.Effort) -> Latency:
        assert self.reference_sha is not None, "the teacher is trial 0"
        threads = self.plan.device.threads
        with lease.measuring(self.store.root):
            session = self.runtime.open_session(folder, threads)
            reference = self.runtime.open_session(self.store.artifact(self.reference_sha), threads)
            return measure.measure_latency(session, reference, self._feeds, effort)

    @cached_property
    def _feeds(self) -> list[dict[str, np.ndarray]]:
        device = self.plan.device
        vocabulary = len(self.tokenizer)
        return measure.latency_feeds(
            vocabulary, device.batch, device.tokens, self.lengths("validation"), self.plan.seed
        )

    def _quality(self, sha256: str, split: str, clock: _Clock) -> Quality:
        with clock.stage(f"quality on {split}") as progress:
            assert self.reference_sha is not None, "the teacher is trial 0"
            reference = self._logits(self.reference_sha, split, progress)
            logits = self._logits(sha256, split, progress)
        return measure.score(split, logits, reference, self.tokens[split].labels, self.metric, self.plan.seed)

    def _logits(self, sha256: str, split: str, progress: Callable[[float], None]) -> np.ndarray:
        """Logits of an artifact on a split, kept: the rows that a score was taken on can be looked at again."""
        device = self.plan.device
        inputs = {"artifact": sha256, "data": self.data.fingerprint, "split": split, "threads": device.threads,
                  "batch": device.batch, "max_tokens": self.plan.task.max_tokens}  # fmt: skip

        def build(folder: Path) -> None:
            session = self.runtime.open_session(self.store.artifact(sha256), device.threads)
            lengths = self.lengths(split)
            logits = measure.logits_of(
                session, len(lengths), lambda rows: self.arrays(split, rows), lengths, device.batch, progress
            )
            np.save(folder / "logits.npy", logits)

        return np.asarray(np.load(self.store.stage("outputs", inputs, build) / "logits.npy"))


def facts(candidate: surgery.Candidate) -> dict[str, Any]:
    """What a recipe became: parameters, kept layers, heads and neurons of each."""
    return {
        "parameters": candidate.parameters,
        "kept_layers": list(candidate.kept_layers),
        "heads": list(candidate.heads),
        "neurons": list(candidate.neurons),
    }
