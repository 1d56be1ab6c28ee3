"""Measure the effect of each decision of a trial: set it to neutral, one at a time, cut the model anew and measure it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autocompress.actions.locate import StudyLocation
from autocompress.core.errors import AutocompressError
from autocompress.core.measurement import Measurement
from autocompress.core.recipe import Recipe
from autocompress.core.stage import Stage
from autocompress.core.technique import active_techniques, ordered_techniques, without_inapplicable
from autocompress.search.display import Display
from autocompress.search.jobs import Job, RunSettings
from autocompress.search.worker_pool import WorkerPool, catching_signals, open_worker_pool
from autocompress.storage.artifact_store import Store
from autocompress.study.trial_details import read_artifacts, read_trial_details

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class DecisionEffect:
    """The effect of one decision: the whole recipe against the recipe with this decision neutral, both untrained."""

    decision: str
    value: str
    faster: float  # times as fast with the decision
    smaller: float  # times smaller with the decision
    drop: float  # quality lost with the decision on validation, a fraction


def ablate(
    located: StudyLocation, trial: int, display: Display, device: str | None = None, offline: bool = True
) -> tuple[DecisionEffect, ...]:
    """Return the effects of all decisions of a trial that are not neutral; they are stored, and read the second time.

    `device` names one of the study's devices; null and `all` mean the first. Nothing is trained, and the study is not
    changed. Raises AutocompressError where a candidate cannot be built or measured.
    """
    view = located.view()
    row, plan, store = view.row(trial), located.plan("report"), located.store(view)
    teacher = read_trial_details(located.url, located.name, 0).outcome
    neutral = view.row(0).recipe
    if not active_decisions(row.recipe, neutral):
        return ()
    further_device = device if device in plan.others else None
    stage = ablation_stage(row.recipe, teacher.sha256, view.recovery, further_device)

    def build(folder: Path) -> None:
        with (
            open_worker_pool(plan.model_copy(update={"workers": 1}), display, offline) as pool,
            catching_signals(pool.interrupt),
        ):
            recovery = None if view.recovery is None else type(plan.recovery).model_validate(view.recovery)
            pool.settings = RunSettings(read_artifacts(located.url, located.name, 0), recovery)
            measurer = _CandidateMeasurer(pool, trial, further_device)
            effects = [asdict(effect) for effect in _measure_effects(measurer, row.recipe, neutral)]
        (folder / "shares.json").write_text(json.dumps(effects), encoding="utf-8")

    folder = Store(store.root).stage(stage, build)
    stored = json.loads((folder / "shares.json").read_text(encoding="utf-8"))
    return tuple(DecisionEffect(**values) for values in stored)


def ablation_stage(
    recipe: Recipe, teacher: str | None, recovery: Mapping[str, Any] | None, device: str | None
) -> Stage:
    """Return the stage that holds the effects of a recipe's decisions.

    `teacher` is the sha256 of the teacher's artifact; it covers everything that the teacher is made from.
    """
    from autocompress.deployment import deploy
    from autocompress.models import candidate, importance
    from autocompress.training import distillation, supernet
    from autocompress.training.least_squares import VERSION as LEAST_SQUARES_VERSION

    active = active_techniques(recipe)
    decisions = {name: recipe[name] for name in active}
    versions = {
        "importance": importance.VERSION, "structure": candidate.VERSION, "supernet": supernet.VERSION,
        "least_squares": LEAST_SQUARES_VERSION, "recovered": distillation.VERSION, "artifact": deploy.VERSION,
        **{name: technique.version for name, technique in active.items()},
    }  # fmt: skip
    settings = {"recipe": decisions, "recovery": recovery, "device": device, "versions": versions}
    return Stage("ablation", VERSION, settings, {"teacher": teacher or ""})


def active_decisions(recipe: Recipe, neutral: Recipe) -> list[str]:
    """Return the decisions that differ from the teacher's recipe, without those that are a part of another."""
    parts = {name for name, technique in ordered_techniques().items() if technique.is_part_of_read}
    return [name for name, value in recipe.items() if value not in (None, neutral[name]) and name not in parts]


def without_decision(recipe: Recipe, decision: str, neutral: Recipe) -> Recipe:
    """Return the recipe with one decision as in the teacher's recipe; what then does not apply is null."""
    return Recipe.from_dict(without_inapplicable({**recipe, decision: neutral[decision]}))


@dataclass(frozen=True)
class _CandidateMeasurer:
    """Builds candidates without training them, and measures them on one device."""

    pool: WorkerPool
    trial: int  # whose decisions are ablated
    device: str | None  # a further one; null: the first

    def measure(self, recipe: Recipe) -> Measurement:
        result = self.pool.run_alone(Job("trial", self.trial, recipe, 0), recipe.describe())
        if result is None:
            raise KeyboardInterrupt
        outcome = result.outcome
        measurement = None
        if outcome is not None:
            measurement = outcome.other_devices.get(self.device) if self.device else outcome.measurement
        if measurement is None:
            on_device = f" on {self.device}" if self.device else ""
            raise AutocompressError(f"{recipe.describe()} could not be measured{on_device}: {result.error or outcome}")
        return measurement


def _measure_effects(measurer: _CandidateMeasurer, recipe: Recipe, neutral: Recipe) -> Iterator[DecisionEffect]:
    whole = measurer.measure(recipe)
    for decision in active_decisions(recipe, neutral):
        reduced = measurer.measure(without_decision(recipe, decision, neutral))
        assert whole.quality is not None and reduced.quality is not None  # complete trials have a quality
        yield DecisionEffect(
            decision=decision,
            value=str(recipe[decision]),
            faster=whole.latency.speedup / reduced.latency.speedup,
            smaller=reduced.size_mb / whole.size_mb,
            drop=whole.quality.drop - reduced.quality.drop,
        )
