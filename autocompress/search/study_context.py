"""What all trials of a study share: teacher, rows, importance, the teacher's outputs. Computed once, found by hash."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from autocompress.config import StudyPlan
from autocompress.core import registry
from autocompress.core.stage import Stage
from autocompress.data.augmentation import UNLABELLED, Specials, augment
from autocompress.models import importance, slicing, teacher
from autocompress.models.families import family_of
from autocompress.models.forward import Forward
from autocompress.models.model_config import read_config
from autocompress.search.stages import Amounts, TrainedStages, importance_stage, targets_stage, teacher_stage
from autocompress.space.parsing import resolve_space
from autocompress.space.space import Space
from autocompress.storage import device_lock
from autocompress.storage.artifact_store import Store
from autocompress.training import distillation, fine_tuning, supernet
from autocompress.training.loop import ordered_batches

CALIBRATION_STEPS = 10
RANGE_ROWS = 128
REFIT_ROWS, REFIT_TOKENS = 1500, 25_000  # at most; more cost seconds and memory, and fit no better
ReportProgress = Callable[[str, float], None]  # stage, fraction done


@dataclass
class StageTimer:
    """Seconds of each stage of a trial, without those of stages within it."""

    report_progress: ReportProgress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        start = time.perf_counter() - sum(self.seconds.values())
        self.report_progress(name, 0.0)
        try:
            yield lambda fraction: self.report_progress(name, fraction)
        finally:
            own = time.perf_counter() - sum(self.seconds.values()) - start
            self.seconds[name] = self.seconds.get(name, 0.0) + own


class StudyContext:
    """Teacher, data and what follows from them, kept warm between trials."""

    def __init__(self, plan: StudyPlan, store: Store, offline: bool) -> None:
        self.plan, self.store, self.offline = plan, store, offline
        self.task = registry.load("tasks", plan.task.kind.replace("-", "_"))

    @cached_property
    def tokenizer(self) -> Any:
        """The teacher's tokenizer."""
        return teacher.load_tokenizer(self.plan.teacher.model, self.offline)

    @cached_property
    def data(self) -> Any:
        """The three splits as text, checked."""
        config = read_config(self.plan.teacher.model, self.plan.place("teacher.model"), self.offline)
        return self.task.read(self.plan, config.id2label)

    @cached_property
    def tokens(self) -> dict[str, Any]:
        """The splits as token ids."""
        limit = self.plan.task.max_tokens
        splits = ("train", "validation", "test")
        return {split: self.task.tokenize(getattr(self.data, split), self.tokenizer, limit) for split in splits}

    @cached_property
    def distillation_set(self) -> Any:
        """What candidates learn from: the training rows, and, labelled by the teacher alone, further texts and varied copies
        of all. Needs the recovery's settings, which may be settled after the teacher is there."""
        train = self.tokens["train"]
        further = self.task.tokenize(self.data.unlabelled, self.tokenizer, self.plan.task.max_tokens)
        paired = train.token_type_ids is not None
        ids = (*train.input_ids, *further.input_ids)
        types = (*train.token_type_ids, *further.token_type_ids) if paired else None
        specials = Specials(frozenset(self.tokenizer.all_special_ids), self.tokenizer.mask_token_id)
        count = self.plan.recovery.copies * len(train)
        more_ids, more_types = augment(ids, types, count, specials, self.plan.seed)
        unlabelled = np.full(len(further) + count, UNLABELLED, np.int64)
        return replace(
            train,
            input_ids=(*ids, *more_ids),
            token_type_ids=None if types is None or more_types is None else (*types, *more_types),
            labels=np.concatenate((train.labels, unlabelled)),
        )

    @cached_property
    def teacher_stage(self) -> Stage:
        """What the teacher is made from: the key of all that follows."""
        return teacher_stage(self.plan, teacher.model_fingerprint(self.plan.teacher.model), self.data.fingerprint)

    @property
    def stages(self) -> TrainedStages:
        """What all that follows from the teacher is made from, by the settings of this moment."""
        plan = self.plan
        return TrainedStages(self.teacher_stage.key, plan.recovery, plan.engine, plan.seed, self.space.choices)

    def lengths(self, split: str) -> list[int]:
        """Tokens of each row of a split."""
        return [len(ids) for ids in self._rows(split).input_ids]

    def _rows(self, split: str) -> Any:
        return self.distillation_set if split == "distillation" else self.tokens[split]

    def arrays(self, split: str, rows: np.ndarray, multiple: int = 1) -> dict[str, np.ndarray]:
        """The model's inputs for some rows of a split, padded to the longest."""
        padding = self.tokenizer.pad_token_id or 0
        inputs: dict[str, np.ndarray] = self.task.pad(self._rows(split), rows, padding, multiple)
        return inputs

    def some_inputs(self) -> list[dict[str, np.ndarray]]:
        """Inputs of some training rows, each by itself: what an artifact's activation ranges are taken from."""
        rows = np.random.default_rng(self.plan.seed).permutation(len(self.tokens["train"].labels))[:RANGE_ROWS]
        return [self.arrays("train", rows[place : place + 1]) for place in range(len(rows))]

    def batch(self, rows: np.ndarray, split: str = "train") -> dict[str, torch.Tensor]:
        """A training batch: inputs and labels."""
        arrays = self.arrays(split, rows, multiple=8) | {"labels": self._rows(split).labels[rows]}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def distillation_batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """A batch of what candidates learn from."""
        return self.batch(rows, "distillation")

    def teacher_model(self, clock: StageTimer) -> Any:
        """The teacher, fine-tuned where the plan asks for it."""
        names, tuned = self.data.label_names, self.plan.teacher.fine_tune
        if "teacher" not in self.__dict__:
            if tuned is None:
                self.teacher = teacher.load_teacher(self.plan.teacher.model, names, False, self.plan.seed, self.offline)
            else:
                there = self.store.has_stage(self.teacher_stage)
                with clock.stage("loading the teacher" if there else "fine-tuning the teacher") as progress:
                    folder = self.store.stage(self.teacher_stage, lambda place: self._fine_tune(place, progress))
                self.teacher = teacher.load_teacher(str(folder), names, False, self.plan.seed, offline=True)
            self.family = family_of(self.teacher.config.model_type)
        return self.teacher

    def _fine_tune(self, folder: Path, progress: Callable[[float], None]) -> None:
        plan = self.plan
        model = teacher.load_teacher(plan.teacher.model, self.data.label_names, True, plan.seed, self.offline)
        family = family_of(model.config.model_type)
        assert plan.teacher.fine_tune is not None  # only called where it is set
        with device_lock.training(self.store.root) as pause:
            fine_tuning.fine_tune(
                model, family, self.batch, self.lengths("train"), plan.teacher.fine_tune, plan.seed, pause(progress)
            )
        teacher.save_teacher(model, self.tokenizer, folder)

    def importance(self, clock: StageTimer) -> slicing.Importance:
        """What heads, neurons and layers are worth, on 512 training rows."""
        with clock.stage("importance"):
            folder = self.store.stage(
                importance_stage(self.teacher_stage.key, self.plan.seed), self._measure_importance
            )
        return importance.load(folder / "importance.npz")

    @property
    def forward(self) -> Forward:
        """The teacher's forward pass."""
        return Forward(self.teacher, self.family)

    def sample_of_distillation_set(self) -> list[np.ndarray]:
        """Numbers of some rows and copies of rows, in batches: what a candidate's matrices are fitted and judged on."""
        lengths = np.asarray(self.lengths("distillation"))
        chosen = np.random.default_rng(self.plan.seed).permutation(len(lengths))[:REFIT_ROWS]
        chosen = chosen[: max(1, int(np.searchsorted(np.cumsum(lengths[chosen]), REFIT_TOKENS, side="right")))]
        return [chosen[part] for part in ordered_batches(list(lengths[chosen]), 64)]

    def _measure_importance(self, folder: Path) -> None:
        rows = np.random.default_rng(self.plan.seed).permutation(len(self.lengths("train")))[
            : importance.CALIBRATION_ROWS
        ]
        lengths = np.asarray(self.lengths("train"))[rows]
        batches = [self.batch(rows[part]) for part in ordered_batches(list(lengths), 32)]
        with device_lock.computing(self.store.root):
            found = importance.measure_importance(self.forward, batches)
        importance.save(found, folder / "importance.npz")

    def targets(self, clock: StageTimer) -> distillation.Targets:
        """The teacher's outputs on the training rows."""
        with clock.stage("teacher outputs") as progress:
            stage = targets_stage(self.teacher_stage.key, self.plan.recovery.copies, self.plan.seed)
            folder = self.store.stage(stage, lambda place: self._compute_targets(place, progress))
        return distillation.Targets(np.load(folder / "logits.npy"), np.load(folder / "hidden.npy", mmap_mode="r"))

    def _compute_targets(self, folder: Path, progress: Callable[[float], None]) -> None:
        with device_lock.training(self.store.root) as pause:
            found = distillation.teacher_targets(
                self.forward, self.distillation_batch, self.lengths("distillation"), pause(progress)
            )
        np.save(folder / "logits.npy", found.logits)
        np.save(folder / "hidden.npy", found.hidden)

    def supernet(self, clock: StageTimer) -> Any:
        """The model in which all candidates were trained at once; cut like the teacher."""
        if "_supernet" not in self.__dict__:
            model, worth, targets = self.teacher_model(clock), self.importance(clock), self.targets(clock)
            with clock.stage("super-net") as progress:
                folder = self.store.stage(
                    self.stages.supernet, lambda place: self._train_supernet(worth, targets, place, progress)
                )
            self._supernet = copy.deepcopy(model)
            self._supernet.load_state_dict(load_file(folder / "model.safetensors"))
        return self._supernet

    def label_seconds(self) -> float:
        """Seconds to take the teacher's outputs on one row."""
        lengths = self.lengths("train")
        rows = np.random.default_rng(self.plan.seed).permutation(len(lengths))[:256]
        chosen = [lengths[row] for row in rows]
        start = time.perf_counter()
        distillation.teacher_targets(self.forward, lambda part: self.batch(rows[part]), chosen, lambda fraction: None)
        return (time.perf_counter() - start) / len(rows)

    def supernet_step_seconds(self, worth: slicing.Importance) -> float:
        """Seconds of one step of the super-net's training."""
        net = supernet.SuperNet(self.teacher, self.family, worth)

        def train(epochs: float) -> None:
            supernet.train_supernet(
                net, self.space.smallest(), self.space.draw_structure, self._no_targets(), self.batch,
                self.lengths("train"), self.plan.recovery, epochs=epochs, seed=self.plan.seed,
            )  # fmt: skip

        return self._seconds_a_step(train)

    def step_seconds(self, candidate: slicing.Candidate) -> float:
        """Seconds of one step of a candidate's training."""
        lengths = self.lengths("train")

        def train(epochs: float) -> None:
            distillation.distil(
                candidate, self._no_targets(), self.batch, lengths, len(lengths), self.plan.recovery, self.plan.seed,
                epochs=epochs,
            )  # fmt: skip

        return self._seconds_a_step(train)

    def _seconds_a_step(self, train: Callable[[float], None]) -> float:
        per_step = self.plan.recovery.batch / len(self.lengths("train"))
        train(2 * per_step)  # warm-up
        start = time.perf_counter()
        train(CALIBRATION_STEPS * per_step)
        return (time.perf_counter() - start) / CALIBRATION_STEPS

    def _no_targets(self) -> distillation.Targets:
        """Nothing to learn from: what a step costs does not depend on it."""
        rows, layers = len(self.lengths("train")), len(self.family.layers(self.teacher))
        shape = (rows, layers, 2, self.teacher.config.hidden_size)
        hidden = np.broadcast_to(np.zeros(1, np.float16), shape)
        return distillation.Targets(np.zeros((rows, len(self.data.label_names)), np.float32), hidden)

    @cached_property
    def space(self) -> Space:
        """The space, without regard to what the runtime supports: that was checked before any work."""
        layers = len(self.family.layers(self.teacher))
        return resolve_space(self.plan.space, layers, {}, self.plan.place("space"))

    def trained_supernet(self) -> dict[str, float]:
        """The amounts of the longest training of this very super-net that is there already, by an earlier study, say."""
        recovery, stages = self.plan.recovery, self.stages
        fixed = {
            name: getattr(recovery, name) for name in ("copies", "supernet_epochs") if name in self.plan.given_recovery
        }
        known = [
            (key, Amounts(inputs["copies"], inputs["recovery"]["supernet_epochs"]))
            for key, inputs in self.store.stages("supernet").items()
        ]
        own = [asdict(amounts) for key, amounts in known if stages.with_amounts(amounts).supernet.key == key]
        fitting = [amounts for amounts in own if fixed.items() <= amounts.items()]
        return max(fitting, key=lambda amounts: amounts["supernet_epochs"], default={})

    def _train_supernet(
        self,
        worth: slicing.Importance,
        targets: distillation.Targets,
        folder: Path,
        progress: Callable[[float], None],
    ) -> None:
        net = supernet.SuperNet(self.teacher, self.family, worth)
        lengths, rows = self.lengths("distillation"), len(self.lengths("train"))
        settings = self.plan.recovery
        with device_lock.training(self.store.root) as pause:
            supernet.train_supernet(
                net,
                self.space.smallest(),
                self.space.draw_structure,
                targets,
                self.distillation_batch,
                lengths,
                settings,
                epochs=settings.supernet_epochs * rows / len(lengths),
                seed=self.plan.seed,
                progress=pause(progress),
            )
        weights = {name: tensor.contiguous() for name, tensor in net.restored().state_dict().items()}
        save_file(weights, folder / "model.safetensors")
