"""Link results that an earlier version cached under old keys to their present keys, so that they are not computed again.

Old keys did not contain the keys of earlier stages. The `inputs.json` of a result lists its inputs; code whose version was not
part of a key counts as the present one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autocompress.config import Engine, Recovery
from autocompress.core.recipe import Recipe
from autocompress.core.stage import Stage
from autocompress.data import augmentation
from autocompress.search.stage_keys import TrainedStages, importance_stage, keyed_when_neutral, outputs_stage
from autocompress.storage.artifact_store import Store
from autocompress.storage.stage_cache import INPUTS
from autocompress.training import distillation

Inputs = Mapping[str, Any]  # of a stage's result, by name
Conditions = Mapping[str, Sequence[Inputs]]  # artifact -> the conditions that it was measured under
WHERE = ("threads", "batch", "cpu")  # what an output's old inputs and a measurement's conditions both name
log = logging.getLogger(__name__)


def adopt_stages(store: Store, seed: int, conditions: Conditions) -> int:
    """Link every result of `store` that has an old key under its present one; return how many were linked.

    `seed` is the study's. `conditions` say with which version of a runtime an artifact's outputs were computed; outputs of an
    unknown version are computed again when they are needed. The old folders stay until the cache is cleaned.
    """
    adopted = 0
    for file in sorted(store.root.glob(f"stages/*/*/{INPUTS}")):
        inputs = json.loads(file.read_text(encoding="utf-8"))
        kind = file.parent.parent.name
        if not isinstance(inputs, dict) or "format" in inputs or kind not in KEYS:
            continue
        stage = KEYS[kind](inputs, seed, conditions)
        if stage is not None and stage.key != file.parent.name and store.adopt(file.parent, stage):
            log.info("%s %s is available under its new key %s", kind, file.parent.name[:12], stage.key[:12])
            adopted += 1
    return adopted


def _importance(inputs: Inputs, seed: int, conditions: Conditions) -> Stage | None:
    stage = importance_stage(inputs["teacher"], seed)
    return stage if inputs["version"] == stage.version else None


def _targets(inputs: Inputs, seed: int, conditions: Conditions) -> Stage | None:
    if (inputs["version"], inputs["augment"]) != (distillation.TARGETS_VERSION, augmentation.VERSION):
        return None
    return _trained(inputs, {"copies": inputs["copies"]}, {}, {}).targets


def _supernet(inputs: Inputs, seed: int, conditions: Conditions) -> Stage | None:
    if (inputs["version"], inputs["augment"]) != (distillation.VERSION, augmentation.VERSION):
        return None
    recovery = {**inputs["recovery"], "copies": inputs["copies"]}
    return _trained(inputs, recovery, {}, inputs["structures"]).supernet


def _recovered(inputs: Inputs, seed: int, conditions: Conditions) -> Stage | None:
    if (inputs["version"], inputs["augment"]) != (distillation.VERSION, augmentation.VERSION):
        return None
    net, bits = inputs["supernet"], inputs["bits"]
    engine = {**inputs["engine"], "supernet": net is not None, "reuse": bits is None}
    recipe = Recipe.from_dict(inputs["structure"])
    if bits is not None:
        recipe = recipe.replace(**dict(zip(keyed_when_neutral(), bits, strict=True)))
    trained = _trained(inputs, inputs["recovery"], engine, net["structures"] if net else {})
    return trained.weights(recipe, inputs["rung"])


def _outputs(inputs: Inputs, seed: int, conditions: Conditions) -> Stage | None:
    where = {name: inputs[name] for name in WHERE}
    for measured in conditions.get(inputs["artifact"], ()):
        if all(measured.get(name) == value for name, value in where.items()) and measured.get("runtime_version"):
            device = {**where, "runtime": measured["runtime"], "runtime_version": measured["runtime_version"]}
            return outputs_stage(inputs["artifact"], inputs["data"], inputs["split"], device, inputs["max_tokens"])
    return None


KEYS: Mapping[str, Callable[[Inputs, int, Conditions], Stage | None]] = {
    "importance": _importance,
    "targets": _targets,
    "supernet": _supernet,
    "recovered": _recovered,
    "outputs": _outputs,
}


def _trained(inputs: Inputs, recovery: Inputs, engine: Inputs, domains: Inputs) -> TrainedStages:
    """Return the stages of a teacher under the settings that `inputs` name."""
    return TrainedStages(inputs["teacher"], Recovery(**recovery), Engine(**engine), inputs["seed"], domains)
