"""The context that all trials of a study share: teacher, rows, importance, targets, super-net, each computed once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.config import Recovery, StudyPlan
from autocompress.core.recipe import Recipe
from autocompress.core.scalar import as_int
from autocompress.data.ragged import load_outputs, save_outputs
from autocompress.models import importance
from autocompress.models.candidate import Candidate
from autocompress.models.importance import Importance
from autocompress.search.augmentation import Augmentation
from autocompress.search.earlier_candidate import EarlierCandidate, read_earlier_candidate
from autocompress.search.edited_data import EditedData
from autocompress.search.rate_calibration import RateCalibration
from autocompress.search.stage_keys import Amounts, TrainedStages, importance_stage, structure_stage, targets_stage
from autocompress.search.stage_timer import StageTimer
from autocompress.search.study_data import DistillationSet, StudyData
from autocompress.search.teacher_provider import TeacherProvider
from autocompress.search.weights import load_weights, save_weights
from autocompress.space.parsing import resolve_space
from autocompress.space.space import Space
from autocompress.storage import device_lock
from autocompress.storage.artifact_store import Store
from autocompress.techniques.building import build_candidate, resolve_structure
from autocompress.techniques.stages import AugmentationTechnique, DataTechnique, active_of
from autocompress.techniques.structure import Structure, load_structure, save_structure
from autocompress.training import distillation, supernet
from autocompress.training.loop import ordered_batches


class StudyContext:
    """Provides the shared results of a study, and keeps them in memory between trials."""

    def __init__(self, plan: StudyPlan, store: Store, offline: bool) -> None:
        self.plan, self.store, self.offline = plan, store, offline
        self.data = StudyData(plan, offline)
        self.teacher = TeacherProvider(plan, self.data, store, offline)
        self._distillation_sets: dict[StudyData, tuple[Recovery, DistillationSet]] = {}  # with the settings it follows
        self._edited: dict[Recipe, EditedData] = {}  # by the decisions about data
        self._supernet: Any = None

    def apply_recovery(self, recovery: Recovery) -> None:
        """Use the amounts of training that were fitted to the time budget."""
        self.plan = self.plan.model_copy(update={"recovery": recovery})
        self._supernet = None  # its amounts are among them

    @cached_property
    def space(self) -> Space:
        """The space. Whether the runtime supports its values was checked before any work."""
        return resolve_space(self.plan.space, self.teacher.anatomy, {}, self.plan.place("space"))

    @property
    def distillation_set(self) -> DistillationSet:
        """The rows that candidates learn from, as the teacher's tokenizer cuts them."""
        return self._distillation_set(self.data)

    def distillation_set_for(self, recipe: Recipe) -> DistillationSet:
        """Return the rows that the candidate of a recipe learns from: the same texts, cut by its own tokenizer."""
        return self._distillation_set(self.data_for(recipe))

    def learned_rows(
        self, recipe: Recipe, rung: int, timer: StageTimer
    ) -> tuple[DistillationSet, distillation.Targets]:
        """Return the rows that a recipe's candidate learns from at a rung, and the teacher's outputs on them.

        Above rung 0 the copies of the recipe's decisions about augmentation are among them.
        """
        rows, targets = self.distillation_set_for(recipe), self.targets(timer)
        decisions = active_of(recipe, AugmentationTechnique) if rung else []
        if not decisions:
            return rows, targets
        most, train = self.plan.recovery.distilled_rows, len(self.data.lengths("train"))
        added = []
        for technique, value in decisions:
            count = as_int(value) * train
            added.append(self._augmentation.load(technique, value, count if most is None else min(count, most), timer))
        return rows.with_added([each.tokens for each in added]), distillation.Targets.join(
            [targets, *(each.targets for each in added)]
        )

    @cached_property
    def _augmentation(self) -> Augmentation:
        return Augmentation(self.data, self.teacher, self.store, self.plan.seed)

    def data_for(self, recipe: Recipe) -> StudyData:
        """Return the splits as a candidate reads them: with its own tokenizer, where a decision edits the teacher's."""
        edits = active_of(recipe, DataTechnique)
        if not edits:
            return self.data
        key = Recipe(**{technique.name: value for technique, value in edits})
        if key not in self._edited:
            self._edited[key] = EditedData(self.plan, self.data, edits)
        return self._edited[key]

    def _distillation_set(self, data: StudyData) -> DistillationSet:
        recovery = self.plan.recovery
        if data not in self._distillation_sets or self._distillation_sets[data][0] != recovery:
            self._distillation_sets[data] = recovery, DistillationSet(data, recovery)
        return self._distillation_sets[data][1]

    @property
    def stages(self) -> TrainedStages:
        """The stages that follow from the teacher under the present settings."""
        plan = self.plan
        start = None if self.earlier is None else self.earlier.stage
        return TrainedStages(self.teacher.stage.key, plan.recovery, plan.engine, plan.seed, self.space.choices, start)

    @cached_property
    def earlier(self) -> EarlierCandidate | None:
        """The candidate of an earlier study that the only recipe starts from; null in a search."""
        return None if self.plan.start is None else read_earlier_candidate(self.plan.start, self.plan.place("start"))

    def rates(self) -> RateCalibration:
        """Return the calibration of the cost of training steps; the teacher must be loaded."""
        return RateCalibration(self.data, self.teacher, self.plan.recovery, self.plan.seed)

    # ---- importance --------------------------------------------------------------------------------------------

    def importance(self, timer: StageTimer) -> Importance:
        """Return the importance of heads, neurons and layers, measured on 512 training rows."""
        with timer.stage("importance"):
            stage = importance_stage(self.teacher.stage.key, self.plan.seed)
            folder = self.store.stage(stage, self._measure_importance)
        return importance.load_importance(folder / "importance.npz")

    def _measure_importance(self, folder: Path) -> None:
        lengths = np.asarray(self.data.lengths("train"))
        rows = self.data.shuffled(len(lengths))[: importance.CALIBRATION_ROWS]
        batches = [self.data.batch(rows[part]) for part in ordered_batches(list(lengths[rows]), 32)]
        with device_lock.share(self.store.root):
            measured = importance.measure_importance(self.teacher.forward, batches, self.data.objective)
        importance.save_importance(measured, folder / "importance.npz")

    # ---- structure ---------------------------------------------------------------------------------------------

    def structure(self, recipe: Recipe, timer: StageTimer) -> Structure:
        """Return the layers, heads and neurons that a recipe keeps."""
        if self.earlier is not None and recipe.trained() == self.earlier.recipe.trained():
            return self.earlier.structure
        ranking = self.importance(timer)
        stage = structure_stage(importance_stage(self.teacher.stage.key, self.plan.seed), recipe)
        folder = self.store.stage(stage, lambda new: save_structure(resolve_structure(recipe, ranking), new))
        return load_structure(folder)

    def build(self, model: Any, recipe: Recipe, timer: StageTimer) -> Candidate:
        """Build the candidate of a recipe with the weights of the teacher, or of the super-net."""
        return build_candidate(model, recipe, self.importance(timer), self.structure(recipe, timer))

    # ---- targets -----------------------------------------------------------------------------------------------

    def targets(self, timer: StageTimer) -> distillation.Targets:
        """Return the teacher's outputs on the distillation set."""
        with timer.stage("teacher outputs") as progress:
            stage = targets_stage(self.teacher.stage.key, self.plan.recovery, self.plan.seed)
            folder = self.store.stage(stage, lambda new: self._compute_targets(new, progress))
        return distillation.Targets(load_outputs(folder), np.load(folder / "hidden.npy", mmap_mode="r"))

    def _compute_targets(self, folder: Path, progress: Callable[[float], None]) -> None:
        rows = self.distillation_set
        with device_lock.share_with_pauses(self.store.root) as pause:
            targets = distillation.compute_targets(self.teacher.forward, rows.batch, rows.lengths, pause(progress))
        save_outputs(targets.outputs, folder)
        np.save(folder / "hidden.npy", np.asarray(targets.hidden))

    # ---- super-net ---------------------------------------------------------------------------------------------

    def supernet(self, timer: StageTimer) -> Any:
        """Return the model in which all candidates were trained at once; it is sliced like the teacher."""
        if self._supernet is None:
            model, ranking, targets = self.teacher.load(timer), self.importance(timer), self.targets(timer)
            with timer.stage("super-net") as progress:
                folder = self.store.stage(
                    self.stages.supernet, lambda new: self._train_supernet(ranking, targets, new, progress)
                )
            net = copy.deepcopy(model)
            load_weights(net, self.teacher, folder)
            self._supernet = net
        return self._supernet

    def _train_supernet(
        self,
        ranking: Importance,
        targets: distillation.Targets,
        folder: Path,
        progress: Callable[[float], None],
    ) -> None:
        net = supernet.SuperNet(self.teacher.model, self.teacher.family, ranking)
        rows, settings = self.distillation_set, self.plan.recovery
        with device_lock.share_with_pauses(self.store.root) as pause:
            supernet.train_supernet(
                net,
                self.space.smallest_subnet(),
                self.space.draw_subnet,
                targets,
                rows.batch,
                rows.lengths,
                settings,
                epochs=settings.supernet_epochs * len(self.data.lengths("train")) / len(rows.lengths),
                seed=self.plan.seed,
                objective=self.data.objective,
                progress=pause(progress),
            )
        save_weights(net.restore_teacher_order(), self.teacher, folder)

    def trained_supernet(self) -> dict[str, Any]:
        """Return the amounts of the longest cached training of this super-net, for example by an earlier study."""
        recovery, stages = self.plan.recovery, self.stages
        names = {field.name for field in fields(Amounts)}
        fixed = {name: getattr(recovery, name) for name in names & self.plan.given_recovery}
        cached = {
            key: Amounts(inputs["copies"], inputs["recovery"]["supernet_epochs"], inputs.get("distilled_rows"))
            for key, inputs in self.store.stages("supernet").items()
        }
        same = [asdict(amounts) for key, amounts in cached.items() if stages.with_amounts(amounts).supernet.key == key]
        fitting = [amounts for amounts in same if fixed.items() <= amounts.items()]
        return max(fitting, key=lambda amounts: amounts["supernet_epochs"], default={})
