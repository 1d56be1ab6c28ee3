"""What each decision gave to a trial: each put back to neutral, one at a time, cut from the super-net and measured."""

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
    """One decision, put back to neutral: what the trial has by it, untrained beside untrained."""

    decision: str
    value: str
    faster: float  # times as fast by it
    smaller: float  # times smaller by it
    drop: float  # quality lost by it on validation, a fraction


def ablate(
    located: StudyLocation, trial: int, display: Display, device: str | None = None, offline: bool = True
) -> tuple[DecisionEffect, ...]:
    """The shares of all decisions of a trial that are not neutral, on a device of the study (null or all: the first); kept,
    and found the second time.

    Neither trained nor told to the study. AutocompressError where a candidate cannot be made or measured there.
    """
    view = located.view()
    row, plan, store = view.row(trial), located.plan("report"), located.store(view)
    teacher = read_trial_details(located.url, located.name, 0).outcome
    layers = len(teacher.facts["kept_layers"])
    if not taken(row.recipe, layers):
        return ()
    further = device if device in plan.others else None
    stage = ablation_stage(row.recipe, teacher.sha256, view.recovery, further)

    def build(folder: Path) -> None:
        with (
            open_worker_pool(plan.model_copy(update={"workers": 1}), display, offline) as pool,
            catching_signals(pool.interrupt),
        ):
            recovery = None if view.recovery is None else type(plan.recovery).model_validate(view.recovery)
            pool.apply_settings(RunSettings(read_artifacts(located.url, located.name, 0), recovery))
            shares = [asdict(share) for share in _shares(_Bench(pool, trial, further), row.recipe, layers)]
        (folder / "shares.json").write_text(json.dumps(shares), encoding="utf-8")

    folder = Store(store.root).stage(stage, build)
    return tuple(
        DecisionEffect(**values) for values in json.loads((folder / "shares.json").read_text(encoding="utf-8"))
    )


def ablation_stage(
    recipe: Recipe, teacher: str | None, recovery: Mapping[str, Any] | None, device: str | None
) -> Stage:
    """What the shares of a recipe depend on; `teacher`: the sha256 of its artifact, whose content stands for all before it."""
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


def taken(recipe: Recipe, layers: int) -> list[str]:
    """The decisions that are not neutral; a window goes with its attention."""
    full = {**NEUTRAL, "depth": layers}
    return [
        name
        for name, value in recipe.as_dict().items()
        if value not in (None, full[name]) and name != "attention_window"
    ]


def without(recipe: Recipe, decision: str, layers: int) -> Recipe:
    """The recipe with one decision neutral; what hangs on it goes with it."""
    neutral: Any = layers if decision == "depth" else NEUTRAL[decision]
    changed = {decision: neutral, **({"attention_window": None} if decision == "attention" else {})}
    return replace(recipe, **changed)


@dataclass(frozen=True)
class _Bench:
    """Where candidates are made and measured."""

    pool: WorkerPool
    trial: int  # whose ablation it is
    device: str | None  # a further one; null: the first

    def measure(self, recipe: Recipe) -> Measurement:
        done = self.pool.run_alone(Job("trial", self.trial, recipe, 0), recipe.describe())
        if done is None:
            raise KeyboardInterrupt
        outcome = done.outcome
        seen = (
            None if outcome is None else outcome.other_devices.get(self.device) if self.device else outcome.measurement
        )
        if seen is None:
            there = f" on {self.device}" if self.device else ""
            raise AutocompressError(f"{recipe.describe()} could not be measured{there}: {done.error or outcome}")
        return seen


def _shares(bench: _Bench, recipe: Recipe, layers: int) -> Iterator[DecisionEffect]:
    whole = bench.measure(recipe)
    for decision in taken(recipe, layers):
        back = bench.measure(without(recipe, decision, layers))
        assert whole.quality is not None and back.quality is not None  # trials that are complete have one
        yield DecisionEffect(
            decision=decision, value=str(recipe.as_dict()[decision]), faster=whole.latency.speedup / back.latency.speedup,
            smaller=back.size_mb / whole.size_mb, drop=whole.quality.drop - back.quality.drop,
        )  # fmt: skip
