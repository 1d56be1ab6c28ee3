"""Train a candidate: cut it from the super-net or fit it by least squares, then distil it up to its rung."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from autocompress.config import Recovery
from autocompress.core.recipe import Recipe
from autocompress.core.technique import active_techniques
from autocompress.models.candidate import Candidate
from autocompress.search.stage_timer import StageTimer
from autocompress.search.study_context import StudyContext
from autocompress.search.study_data import DistillationSet
from autocompress.search.weights import load_weights, save_weights
from autocompress.storage import device_lock
from autocompress.training import distillation, least_squares
from autocompress.training.distillation import Targets

LEAST_SQUARES_SHARE = 0.1  # of a training's time, for its progress display
Report = Callable[[float], None]  # fraction done


class CandidateTraining:
    """Trains the candidates of one study. One training serves all that share it, and each rung continues from the one below."""

    def __init__(self, context: StudyContext) -> None:
        self._context = context

    def bring_to_rung(self, candidate: Candidate, rung: int, timer: StageTimer) -> bool:
        """Load a candidate's weights at a rung from the cache, or train them; return whether it was trained now.

        A candidate that shares the teacher's weights is not trained; one of an earlier study has its own at rung 0.
        """
        context, was_trained = self._context, False
        is_earlier = context.earlier is not None and rung == 0
        if candidate.recipe.shares_weights(context.teacher.recipe) and not is_earlier:
            return False

        def train(folder: Path) -> None:
            nonlocal was_trained
            self._train(candidate, rung, folder, progress, timer)
            was_trained = True

        with timer.stage("recovery") as progress:
            folder = context.store.stage(context.stages.weights(candidate.recipe, rung), train)
        load_weights(candidate.model, context.teacher, folder)
        return was_trained

    def _is_first(self, rung: int) -> bool:
        """Whether a rung starts from the super-net or the teacher, and not from the weights of the rung below."""
        return rung == 0 or not self._context.plan.engine.rungs

    def _prepare(self, candidate: Candidate, rung: int, timer: StageTimer) -> tuple[DistillationSet, Targets | None]:
        """Compute the stages that a rung's training needs; each reports its own progress.

        Return the rows that the candidate learns from, and the teacher's outputs on them where they are needed.
        """
        context, is_first = self._context, self._is_first(rung)
        if not is_first:
            self.bring_to_rung(candidate, rung - 1, timer)
        elif context.plan.engine.supernet:
            context.supernet(timer)
        is_distilled = context.plan.recovery.epochs_at(rung) > 0
        if is_distilled or (is_first and context.plan.engine.supernet):
            return context.learned_rows(candidate.recipe, rung, timer)
        return context.distillation_set_for(candidate.recipe), None

    def _train(self, candidate: Candidate, rung: int, folder: Path, progress: Report, timer: StageTimer) -> None:
        """Train a candidate in place and save its weights."""
        context, (rows, targets) = self._context, self._prepare(candidate, rung, timer)
        plan, settings = context.plan, self._settings(candidate)
        epochs = settings.epochs_at(rung)
        is_first = self._is_first(rung)
        share = 0.0  # of the progress, before distillation
        if is_first:
            share = LEAST_SQUARES_SHARE if epochs > 0 else 1.0
        torch.manual_seed(plan.seed)
        with device_lock.share_with_pauses(context.store.root) as pause:
            report = pause(progress)
            if is_first:
                self._start(candidate, rows, targets, lambda done: report(share * done), timer)
            if targets is not None and epochs > 0:
                distillation.distil(
                    candidate,
                    targets,
                    rows.batch,
                    rows.lengths,
                    len(context.data.lengths("train")),
                    settings,
                    plan.seed + rung,  # each rung sees the rows in another order
                    lambda done: report(share + (1 - share) * done),
                    epochs=epochs,
                    objective=context.data.objective,
                )
        save_weights(candidate.model, context.teacher, folder)

    def _settings(self, candidate: Candidate) -> Recovery:
        """Return the settings of a candidate's training: one that keeps every layer may have a learning rate of its own."""
        recovery = self._context.plan.recovery
        rate = recovery.whole_depth_learning_rate
        if rate is None or not self._has_every_layer(candidate):
            return recovery
        return recovery.model_copy(update={"learning_rate": rate})

    def _has_every_layer(self, candidate: Candidate) -> bool:
        return len(candidate.kept_layers) == self._context.teacher.layer_count

    def _start(
        self, candidate: Candidate, rows: DistillationSet, targets: Targets | None, progress: Report, timer: StageTimer
    ) -> None:
        """Set the weights that distillation starts from: cut from the super-net, or the teacher's fitted by least squares, or
        those of an earlier study.

        Where no layer is removed, or the super-net does not know the structure, both are tried and those nearer to the teacher
        are taken. With fewer layers the super-net's were always nearer.
        """
        context, engine = self._context, self._context.plan.engine
        if context.earlier is not None:
            context.earlier.load_weights(candidate.model)
            return
        cut = None
        if engine.supernet and targets is not None:
            cut = context.build(context.supernet(timer), candidate.recipe, timer)
        is_fitted = engine.refit and (
            cut is None or self._has_every_layer(candidate) or not is_subnet(candidate.recipe)
        )
        if is_fitted and not self._fit(candidate, cut, rows, targets, progress):
            return
        if cut is not None:
            candidate.model.load_state_dict(cut.model.state_dict())

    def _fit(
        self,
        candidate: Candidate,
        cut: Candidate | None,
        rows: DistillationSet,
        targets: Targets | None,
        progress: Report,
    ) -> bool:
        """Fit a candidate by least squares; return whether the one that was cut from the super-net is nearer to the teacher."""
        numbers = rows.fitting_batches()
        batches = [rows.batch(part) for part in numbers]
        least_squares.fit_least_squares(candidate, self._context.teacher.forward, batches, progress)
        if cut is None or targets is None:
            return cut is not None
        temperature, objective = self._context.plan.recovery.temperature, self._context.data.objective
        fitted, shared = (
            distillation.divergence(model, targets, batches, numbers, temperature, objective)
            for model in (candidate, cut)
        )
        return shared < fitted


def is_subnet(recipe: Recipe) -> bool:
    """Whether the super-net was trained in the structure of a recipe."""
    active = active_techniques(recipe).items()
    return all(technique.subnet_values((recipe[name],)) for name, technique in active if technique.stage == "structure")
