"""The teacher of a study: loaded once, fine-tuned first where the study file asks for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from autocompress.config import FineTune, StudyPlan
from autocompress.core.domain import Anatomy
from autocompress.core.recipe import Recipe
from autocompress.core.stage import Stage
from autocompress.models.families import Family, load_family
from autocompress.models.forward import Forward, open_forward
from autocompress.models.teacher import load_teacher, model_fingerprint, save_teacher
from autocompress.search.silver_pairs import EMBEDDINGS, silver_rows
from autocompress.search.stage_keys import teacher_stage
from autocompress.search.stage_timer import StageTimer
from autocompress.search.study_data import StudyData
from autocompress.storage import device_lock
from autocompress.storage.artifact_store import Store
from autocompress.tasks import Tokens, load_task
from autocompress.training.fine_tuning import fine_tune


class TeacherProvider:
    """Provides the teacher's model and its properties."""

    def __init__(self, plan: StudyPlan, data: StudyData, store: Store, offline: bool) -> None:
        self._plan, self._data, self._store, self._offline = plan, data, store, offline
        self._model: Any = None

    @cached_property
    def stage(self) -> Stage:
        """The stage of the teacher; its key is part of the key of every later stage."""
        settings, files_of_task = self._plan.teacher.fine_tune, self._data.task.model_files
        if settings is not None and settings.silver_pairs:
            files_of_task = (*files_of_task, *load_task(EMBEDDINGS).model_files)
        files = model_fingerprint(self._plan.teacher.model, files_of_task)
        return teacher_stage(self._plan, files, self._data.splits.fingerprint)

    def load(self, timer: StageTimer) -> Any:
        """Return the teacher's model; the first call loads it, fine-tuned where the plan asks for it."""
        if self._model is None:
            settings = self._plan.teacher.fine_tune
            source = self._plan.teacher.model if settings is None else str(self._fine_tuned(settings, timer))
            self._model = self._load(source, new_head=False, offline=self._offline or settings is not None)
        return self._model

    @property
    def model(self) -> Any:
        """The model, which `load` must have loaded."""
        if self._model is None:
            raise RuntimeError("the teacher is not loaded yet: call `load` first")
        return self._model

    @property
    def family(self) -> Family:
        """The family of the model."""
        return load_family(self.model.config.model_type)

    @property
    def layer_count(self) -> int:
        """Number of layers."""
        return self.family.depth(self.model)

    @property
    def anatomy(self) -> Anatomy:
        """The sizes of the model."""
        return Anatomy(self.layer_count)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the unchanged model."""
        return Recipe.of_teacher(self.anatomy)

    @property
    def forward(self) -> Forward:
        """The forward pass of the model."""
        return open_forward(self.model, self.family)

    def _fine_tuned(self, settings: FineTune, timer: StageTimer) -> Path:
        """Return the folder of the fine-tuned model."""
        is_cached = self._store.has_stage(self.stage)
        with timer.stage("loading the teacher" if is_cached else "fine-tuning the teacher") as progress:
            return self._store.stage(self.stage, lambda folder: self._fine_tune(settings, folder, progress))

    def _fine_tune(self, settings: FineTune, folder: Path, progress: Callable[[float], None]) -> None:
        model = self._load(self._plan.teacher.model, new_head=True, offline=self._offline)
        family, objective = load_family(model.config.model_type), self._data.objective
        with device_lock.share_with_pauses(self._store.root) as pause:
            report, done = pause(progress), 0.0
            for tokens, epochs, share in self._training_rows(settings):
                fine_tune(
                    model, family, partial(self._data.training_batch, tokens), tokens.lengths,
                    settings.model_copy(update={"epochs": epochs}), self._plan.seed,
                    partial(_report_part, report, done, share), objective=objective,
                )  # fmt: skip
                done += share
        objective.finish_fine_tuning(model)
        save_teacher(model, self._data.tokenizer, folder)

    def _training_rows(self, settings: FineTune) -> list[tuple[Tokens, float, float]]:
        """Return what the model is fine-tuned on, in this order: rows, epochs, and the share of the time."""
        rows = [(self._data.tokens["train"], settings.epochs)]
        if settings.silver_pairs:
            rows.insert(0, (silver_rows(self._plan, self._data, settings.silver_pairs, self._offline), 1.0))
        total = sum(len(tokens) * epochs for tokens, epochs in rows)
        return [(tokens, epochs, len(tokens) * epochs / total) for tokens, epochs in rows]

    def _load(self, source: str, new_head: bool, offline: bool) -> Any:
        return load_teacher(source, self._data.task, self._data.splits, new_head, self._plan.seed, offline)


def _report_part(report: Callable[[float], None], done: float, share: float, fraction: float) -> None:
    """Report the progress of one part, which begins at `done` and is `share` of the whole."""
    report(done + share * fraction)
