"""Compose the key of each cached result from its settings, its version and the results that it is made from.

Each version is a constant of the module that it belongs to.

teacher ─┬─► importance ─► structure ─┬──────────────────► recovered (at a rung; made from the rung below, too)
         └─► distillation_set ─► targets ─► supernet ─────┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autocompress.config import AutoFineTune, Engine, FineTune, Recovery, StudyPlan
from autocompress.core.json_types import Json
from autocompress.core.recipe import Recipe, Scalar
from autocompress.core.stage import Stage, upstream
from autocompress.core.technique import active_techniques, ordered_techniques
from autocompress.data import augmentation, written_texts
from autocompress.deployment import deploy
from autocompress.models import candidate, importance
from autocompress.training import distillation, fine_tuning, supernet
from autocompress.training.least_squares import VERSION as LEAST_SQUARES_VERSION

OUTPUTS_VERSION = 1  # of cached logits
AUGMENTED_VERSION = 1
START_VERSION = 1
TIMING_REFERENCE_VERSION = 1
SUPERNET_SETTINGS = ("supernet_epochs", "supernet_learning_rate", "batch", "temperature", "label_weight")
Domains = Mapping[str, Sequence[Scalar]]  # decision -> the values that it may take


@dataclass(frozen=True)
class Amounts:
    """The amounts of training of a super-net."""

    copies: int
    supernet_epochs: float
    distilled_rows: int | None = None  # null: all


@dataclass(frozen=True)
class TrainedStages:
    """The stages between a teacher and the weights of a candidate, given the key of the teacher's stage."""

    teacher: str
    recovery: Recovery
    engine: Engine
    seed: int
    domains: Domains
    start: Stage | None = None  # the candidate of an earlier study that training starts from

    @property
    def importance(self) -> Stage:
        """The importance of heads, neurons and layers."""
        return importance_stage(self.teacher, self.seed)

    @property
    def targets(self) -> Stage:
        """The teacher's outputs on the distillation set."""
        return targets_stage(self.teacher, self.recovery, self.seed)

    @property
    def supernet(self) -> Stage:
        """The weights of the super-net."""
        settings = self.recovery.model_dump(include=set(SUPERNET_SETTINGS))
        values = [technique_stage(name, list(choices)) for name, choices in subnet_choices(self.domains).items()]
        return Stage(
            "supernet",
            supernet.VERSION,
            {"recovery": settings, **_distilled_rows(self.recovery), "seed": self.seed},
            upstream(self.targets, self.importance, *values),
        )

    def weights(self, recipe: Recipe, rung: int) -> Stage:
        """Return the stage of a candidate's weights at a rung."""
        first = rung == 0 or not self.engine.rungs
        bits = None if self.engine.reuse else [recipe[name] for name in keyed_when_neutral()]
        settings = {
            "recovery": _recovery_settings(self.recovery), "engine": {"rungs": self.engine.rungs}, "seed": self.seed,
            "rung": rung, "bits": bits,
        }  # fmt: skip
        structure = structure_stage(self.importance, recipe)
        fitted = Stage("least_squares", LEAST_SQUARES_VERSION, {"seed": self.seed}) if self.engine.refit else None
        lower = None if first else self.weights(recipe, rung - 1)
        net = self.supernet if self.engine.supernet else self.start
        decisions = decision_stages(recipe if not self.engine.reuse else recipe.trained(), structural=False)
        if rung == 0:  # nothing is learned there, so no copies
            decisions = [stage for stage in decisions if stage.kind not in augmentations()]
        stages = upstream(structure, self.targets, net, fitted, lower, *decisions)
        return Stage("recovered", distillation.VERSION, settings, stages)

    def with_amounts(self, amounts: Amounts) -> TrainedStages:
        """Return the same stages with a super-net that was trained for other amounts."""
        recovery = self.recovery.model_copy(update=asdict(amounts))
        return replace(self, recovery=recovery)


def teacher_stage(plan: StudyPlan, model: Mapping[str, str], data: str) -> Stage:
    """Return the stage of the fine-tuned teacher. `model`: sha256 of each of its files; `data`: the fingerprint of the rows."""
    tuned = plan.teacher.fine_tune
    settings = {
        "model": dict(model), "fine_tune": _fine_tuning_settings(tuned) if tuned else None, "data": data,
        "max_tokens": plan.task.max_tokens, "seed": plan.seed if tuned else None,
    }  # fmt: skip
    if isinstance(tuned, AutoFineTune):
        return Stage("teacher", fine_tuning.AUTO_VERSION, {**settings, "metric": Path(plan.task.metric).name})
    return Stage("teacher", fine_tuning.VERSION, settings)


def _fine_tuning_settings(settings: FineTune | AutoFineTune) -> Json:
    """Return the settings that a key holds; without a linear probe it is what it was before there was one."""
    has_probe = bool(settings.linear_probe_rows)
    return settings.model_dump(exclude_none=True, exclude=None if has_probe else {"linear_probe_rows"})


def importance_stage(teacher_key: str, seed: int) -> Stage:
    """Return the stage of the importance of a teacher's parts; the seed draws the calibration rows."""
    return Stage("importance", importance.VERSION, {"seed": seed}, {"teacher": teacher_key})


def targets_stage(teacher_key: str, recovery: Recovery, seed: int) -> Stage:
    """Return the stage of a teacher's outputs on the distillation set (see `study_data.DistillationSet`)."""
    inputs = {**_distilled_rows(recovery), "seed": seed}
    rows = Stage("distillation_set", augmentation.VERSION, inputs, {"teacher": teacher_key})
    return Stage("targets", distillation.TARGETS_VERSION, made_from=upstream(rows))


def augmented_stage(teacher_key: str, name: str, value: Scalar, count: int, seed: int) -> Stage:
    """Return the stage of a teacher's outputs on `count` copies of the study's texts, which a decision changes."""
    made_from = {"teacher": teacher_key, **upstream(technique_stage(name, value))}
    return Stage("augmented", AUGMENTED_VERSION, {"count": count, "seed": seed}, made_from)


def start_stage(files: Mapping[str, str]) -> Stage:
    """Return the stage of an earlier study's candidate; `files`: sha256 of each of its files."""
    return Stage("start", START_VERSION, {"files": dict(files)})


def structure_stage(ranking: Stage, recipe: Recipe) -> Stage:
    """Return the stage of a recipe's structure: the layers, heads and neurons that it keeps, and their attention."""
    return Stage("structure", candidate.VERSION, made_from=upstream(ranking, *decision_stages(recipe, structural=True)))


def timing_reference_stage(teacher_key: str, runtime: str) -> Stage:
    """Return the stage of the small model that a teacher's candidates are timed beside, as an artifact for a runtime."""
    settings = {"runtime": runtime, "artifact": deploy.VERSION}
    return Stage("timing_reference", TIMING_REFERENCE_VERSION, settings, {"teacher": teacher_key})


def decision_stages(recipe: Recipe, *, structural: bool) -> list[Stage]:
    """Return the stages of the active decisions of a recipe: those about structure, or all others.

    The others leave out decisions of which another setting holds the value (`keyed_when_neutral`), unless an active decision
    about training reads them.
    """
    active = active_techniques(recipe)
    read = {name for technique in active.values() if technique.stage == "training" for name in technique.reads}
    return [
        technique_stage(name, recipe[name])
        for name, technique in active.items()
        if (technique.stage == "structure") is structural and (not technique.is_keyed_when_neutral or name in read)
    ]


def data_stages(recipe: Recipe) -> list[Stage]:
    """Return the stages of the active decisions about data, which change the inputs of a candidate."""
    active = active_techniques(recipe)
    return [technique_stage(name, recipe[name]) for name, technique in active.items() if technique.stage == "data"]


def augmentations() -> list[str]:
    """Return the decisions about what texts a candidate learns from."""
    return [name for name, technique in ordered_techniques().items() if technique.adds_texts]


def keyed_when_neutral() -> list[str]:
    """Return the decisions whose values stand in the keys of weights that serve one recipe only, also where neutral."""
    return [name for name, technique in ordered_techniques().items() if technique.is_keyed_when_neutral]


def technique_stage(name: str, value: object) -> Stage:
    """Return the stage of one decision: its value (or values), and the version of the technique that applies it."""
    return Stage(name, ordered_techniques()[name].version, {"value": value})


def outputs_stage(
    artifact: str,
    data: str,
    split: str,
    device: Mapping[str, object],
    max_tokens: int,
    decisions: Sequence[Stage] = (),
) -> Stage:
    """Return the stage of an artifact's outputs on a split.

    `device`: threads, batch, cpu, runtime and runtime_version. `decisions`: those about data that the artifact was made with.
    """
    settings = {"artifact": artifact, "data": data, "split": split, "max_tokens": max_tokens, **device}
    return Stage("outputs", OUTPUTS_VERSION, settings, upstream(*decisions))


def _distilled_rows(recovery: Recovery) -> dict[str, int]:
    """Return the settings that decide which rows a distillation set has. Where it has all, their number stands in no key, as in
    earlier studies; nor does the kind of edited copies."""
    rows: dict[str, int] = recovery.model_dump(include={"copies", "distilled_rows"}, exclude_none=True)
    return {**rows, "written": written_texts.VERSION} if recovery.copy_kind == "written" else rows


def _recovery_settings(recovery: Recovery) -> Json:
    """Return the settings of training that a key holds; edited copies are what there was before there were others."""
    is_written = recovery.copy_kind == "written"
    return recovery.model_dump(exclude_none=True, exclude=None if is_written else {"copy_kind"})


def subnet_choices(domains: Domains) -> dict[str, Sequence[Scalar]]:
    """Return the choices of structural decisions without those pinned to neutral, so that a new decision changes no key."""
    return {
        name: domains[name]
        for name, technique in ordered_techniques().items()
        if technique.stage == "structure" and name in domains and list(domains[name]) != [technique.neutral(None)]
    }
