"""The teacher of a study: loaded once, fine-tuned first where the study file asks for it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from autocompress.config import AutoFineTune, FineTune, StudyPlan
from autocompress.core.domain import Anatomy
from autocompress.core.json_types import Json
from autocompress.core.recipe import Recipe
from autocompress.core.stage import Stage
from autocompress.data import sample_rows
from autocompress.models.families import Family, load_family
from autocompress.models.forward import Forward, open_forward
from autocompress.models.model_types import Model
from autocompress.models.teacher import load_teacher, model_fingerprint, save_teacher
from autocompress.search.auto_fine_tuning import LINEAR_PROBE, AutoFineTuning
from autocompress.search.fine_tuning_length import MOST_STOP_ROWS, first_setting
from autocompress.search.fine_tuning_rows import FineTuningRows
from autocompress.search.silver_pairs import silver_rows
from autocompress.search.stage_keys import teacher_stage
from autocompress.search.stage_timer import ReportProgress, StageTimer
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_evaluation import JudgedRows
from autocompress.search.text_embeddings import EMBEDDINGS
from autocompress.search.work_folder import WorkFolder
from autocompress.storage import device_lock
from autocompress.storage.artifact_store import Store
from autocompress.tasks import Tokens, load_task
from autocompress.training.fine_tuning import LabelledRows, fine_tune
from autocompress.training.linear_probe import fit_linear_probe, set_output_layer
from autocompress.training.loop import Progress
from autocompress.training.settings_search import CurvePoint

FINE_TUNING = "fine-tuning the teacher"
RECORD = "fine_tuning.json"  # in the folder of a fine-tuned teacher
CURVE = "sample for a learning curve"


class TeacherProvider:
    """Provides the teacher's model and its properties."""

    def __init__(self, plan: StudyPlan, data: StudyData, store: Store, offline: bool) -> None:
        self._plan, self._data, self._store, self._offline = plan, data, store, offline
        self._model: Model = None

    @cached_property
    def stage(self) -> Stage:
        """The stage of the teacher; its key is part of the key of every later stage."""
        settings, files_of_task = self._plan.teacher.fine_tune, self._data.task.model_files
        if settings is not None and settings.silver_pairs:
            files_of_task = (*files_of_task, *load_task(EMBEDDINGS).model_files)
        files = model_fingerprint(self._plan.teacher.model, files_of_task)
        return teacher_stage(self._plan, files, self._data.splits.fingerprint)

    def load(self, timer: StageTimer) -> Model:
        """Return the teacher's model; the first call loads it, fine-tuned where the plan asks for it."""
        if self._model is None:
            settings = self._plan.teacher.fine_tune
            source = self._plan.teacher.model if settings is None else str(self._fine_tuned(timer))
            self._model = self._load(source, new_head=False, offline=self._offline or settings is not None)
        return self._model

    @property
    def fine_tuning(self) -> Json | None:
        """The record of the fine-tuning; null where there was none."""
        if self._plan.teacher.fine_tune is None:
            return None
        file = self._store.stage(self.stage, _refuse) / RECORD
        record: Json | None = (
            json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        )  # older ones have none
        return record

    @property
    def model(self) -> Model:
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

    def _fine_tuned(self, timer: StageTimer) -> Path:
        """Return the folder of the fine-tuned model."""
        is_cached = self._store.has_stage(self.stage)
        with timer.stage("loading the teacher" if is_cached else FINE_TUNING) as progress:
            folder = self._store.stage(self.stage, lambda new: self._fine_tune(new, progress, timer.report_progress))
        shutil.rmtree(self._work_folder, ignore_errors=True)  # what only an interrupted fine-tuning needs
        return folder

    def _fine_tune(self, folder: Path, progress: Progress, report_progress: ReportProgress) -> None:
        settings = self._plan.teacher.fine_tune
        with device_lock.share_with_pauses(self._store.root) as pause:
            if isinstance(settings, AutoFineTune):
                model, record = self._search_settings(settings, report_progress, pause)
            else:
                assert settings is not None  # a model that is not fine-tuned has no such stage
                model = self._load_new_head()
                settings = self._fit_linear_probe(model, settings, report_progress, pause)
                record = self._train_on(model, settings, pause(progress))
        (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
        self._data.objective.finish_fine_tuning(model)
        save_teacher(model, self._data.tokenizer, folder)

    def _fit_linear_probe(
        self, model: Model, settings: FineTune, report_progress: ReportProgress, pause: Callable[[Progress], Progress]
    ) -> FineTune:
        """Fit the model's new head, in place, where the settings ask for it; return the settings, without a probe left out."""
        if not settings.linear_probe_rows:
            return settings
        known = FineTuningRows(self._data, self._plan.task.metric, self._plan.seed)
        report = pause(lambda done: report_progress(f"{FINE_TUNING}: {LINEAR_PROBE}", done))
        weights = fit_linear_probe(model, known.probed(settings.linear_probe_rows), report)
        set_output_layer(model, weights)
        return settings if weights else settings.model_copy(update={"linear_probe_rows": None})

    def _train_on(self, model: Model, settings: FineTune, report: Progress) -> Json:
        """Fine-tune a model with settings that are given; return the record."""
        start, done, learned = time.monotonic(), 0.0, 0.0
        curve: list[CurvePoint] = []
        for tokens, epochs, share in self._training_rows(settings):
            curve = fine_tune(
                model, self._labelled(tokens), settings.model_copy(update={"epochs": epochs}), self._plan.seed,
                partial(_report_part, report, done, share), objective=self._data.objective, evaluate=self._shown.judge,
            )  # fmt: skip
            done += share
            learned += epochs * len(tokens)
        return {
            "settings": settings.model_dump(exclude_none=True),
            "curve": [asdict(point) for point in curve],  # of the labelled rows, which come last
            "curve_rows": len(self._shown),
            "learned": round(learned),
            "seconds": time.monotonic() - start,
            "trials": [],
            "judged_rows": 0,
        }

    @cached_property
    def _shown(self) -> JudgedRows:
        """Rows of validation on which the teacher's learning curve is measured."""
        rows = self._data.splits.validation
        chosen = sample_rows(np.zeros(len(rows), np.int64), MOST_STOP_ROWS, self._plan.seed, CURVE)
        return JudgedRows(self._data, self._plan.task.metric, self._data.tokenize(rows.take(chosen)))

    def _labelled(self, tokens: Tokens) -> LabelledRows:
        return LabelledRows(partial(self._data.training_batch, tokens), tokens.lengths)

    def _search_settings(
        self, settings: AutoFineTune, report_progress: ReportProgress, pause: Callable[[Progress], Progress]
    ) -> tuple[Model, Json]:
        """Search the settings; return the fine-tuned model and the record of the search."""

        def report(text: str, fraction: float) -> None:
            report_progress(f"{FINE_TUNING}: {text}", fraction)

        load_model = self._load_new_head
        if settings.silver_pairs:
            load_model = partial(self._load_after_silver_pairs, settings.silver_pairs, report, pause)
        search = AutoFineTuning(
            self._plan, settings, self._data, load_model, WorkFolder(self._work_folder), report, pause, self._shown
        )
        return search.run()

    def _load_after_silver_pairs(
        self, count: int, report: Callable[[str, float], None], pause: Callable[[Progress], Progress]
    ) -> Model:
        """Return the model that has learned pairs which its own embeddings rate, at the rate that is tried first."""
        model, file = self._load_new_head(), self._work_folder / "silver_pairs.pt"
        if not file.is_file():
            rows = silver_rows(self._plan, self._data, count, self._offline)
            rate = first_setting(1, model.config.hidden_size).learning_rate
            fine_tune(
                model, self._labelled(rows), FineTune(epochs=1, learning_rate=rate), self._plan.seed,
                pause(lambda done: report("silver pairs", done)), objective=self._data.objective,
            )  # fmt: skip
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(model.state_dict(), file.with_suffix(".new"))
            os.replace(file.with_suffix(".new"), file)
        model.load_state_dict(torch.load(file, weights_only=True))
        return model

    @property
    def _work_folder(self) -> Path:
        return self._store.root / "fine_tuning" / self.stage.key

    def _training_rows(self, settings: FineTune) -> list[tuple[Tokens, float, float]]:
        """Return what the model is fine-tuned on, in this order: rows, epochs, and the share of the time."""
        rows = [(self._data.tokens["train"], settings.epochs)]
        if settings.silver_pairs:
            rows.insert(0, (silver_rows(self._plan, self._data, settings.silver_pairs, self._offline), 1.0))
        total = sum(len(tokens) * epochs for tokens, epochs in rows)
        return [(tokens, epochs, len(tokens) * epochs / total) for tokens, epochs in rows]

    def _load_new_head(self) -> Model:
        return self._load(self._plan.teacher.model, new_head=True, offline=self._offline)

    def _load(self, source: str, new_head: bool, offline: bool) -> Model:
        return load_teacher(source, self._data.task, self._data.splits, new_head, self._plan.seed, offline)


def _refuse(folder: Path) -> None:
    raise RuntimeError("the teacher is not fine-tuned yet: call `load` first")


def _report_part(report: Callable[[float], None], done: float, share: float, fraction: float) -> None:
    """Report the progress of one part, which begins at `done` and is `share` of the whole."""
    report(done + share * fraction)
