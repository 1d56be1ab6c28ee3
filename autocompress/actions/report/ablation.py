"""Measure the effect of each decision of a trial: set it to neutral, one at a time, cut the model anew and measure it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autocompress.actions.locate import StudyLocation
from autocompress.core import registry
from autocompress.core.errors import AutocompressError
from autocompress.core.measurement import Measurement
from autocompress.core.recipe import NEUTRAL, Recipe
from autocompress.core.stage import Stage
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
    layers = len(teacher.facts["kept_layers"])
    if not active_decisions(row.recipe, layers):
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
            effects = [asdict(effect) for effect in _measure_effects(measurer, row.recipe, layers)]
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

    decisions = {name: value for name, value in recipe.as_dict().items() if value != NEUTRAL[name]}
    versions = {
        "importance": importance.VERSION, "structure": candidate.VERSION, "supernet": supernet.VERSION,
        "least_squares": LEAST_SQUARES_VERSION, "recovered": distillation.VERSION, "artifact": deploy.VERSION,
        **{name: registry.load("techniques", name).VERSION for name in decisions},
    }  # fmt: skip
    settings = {"recipe": decisions, "recovery": recovery, "device": device, "versions": versions}
    return Stage("ablation", VERSION, settings, {"teacher": teacher or ""})


def active_decisions(recipe: Recipe, layers: int) -> list[str]:
    """Return the decisions that are not neutral; `attention_window` counts as a part of `attention`."""
    neutral = {**NEUTRAL, "depth": layers}
    return [
        name
        for name, value in recipe.as_dict().items()
        if value not in (None, neutral[name]) and name != "attention_window"
    ]


def without_decision(recipe: Recipe, decision: str, layers: int) -> Recipe:
    """Return the recipe with one decision neutral, and with it the decisions that depend on it."""
    neutral: Any = layers if decision == "depth" else NEUTRAL[decision]
    changes = {decision: neutral, **({"attention_window": None} if decision == "attention" else {})}
    return replace(recipe, **changes)


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


def _measure_effects(measurer: _CandidateMeasurer, recipe: Recipe, layers: int) -> Iterator[DecisionEffect]:
    whole = measurer.measure(recipe)
    for decision in active_decisions(recipe, layers):
        reduced = measurer.measure(without_decision(recipe, decision, layers))
        assert whole.quality is not None and reduced.quality is not None  # complete trials have a quality
        yield DecisionEffect(
            decision=decision,
            value=str(recipe.as_dict()[decision]),
            faster=whole.latency.speedup / reduced.latency.speedup,
            smaller=reduced.size_mb / whole.size_mb,
            drop=whole.quality.drop - reduced.quality.drop,
        )
