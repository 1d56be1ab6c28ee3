"""Keys of recipes omit neutral decisions, so that a later decision changes no earlier key."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

from autocompress.core.json_types import Json

revision = "0006"
down_revision = "0005"

NEUTRAL = {
    "depth": None,
    "attention": "full",
    "attention_window": None,
    "head_sparsity": 0.0,
    "ffn_sparsity": 0.0,
    "weight_bits": 32,
    "embedding_bits": 32,
}  # all decisions of that version
QUEUED = "ac_recipe"  # attribute of Optuna's trials: the key of the recipe that waits or waited
log = logging.getLogger(__name__)

studies = sa.table("ac_studies", sa.column("id"), sa.column("study_id"), sa.column("plan", sa.JSON))
candidates = sa.table(
    "ac_candidates",
    sa.column("id"),
    sa.column("ac_study_id"),
    sa.column("number"),
    sa.column("recipe", sa.JSON),
    sa.column("recipe_key"),
)
trials = sa.table("trials", sa.column("trial_id"), sa.column("study_id"))
attributes = sa.table(
    "trial_system_attributes",
    sa.column("trial_system_attribute_id"),
    sa.column("trial_id"),
    sa.column("key"),
    sa.column("value_json"),
)


def upgrade() -> None:
    """Rewrite the keys of candidates and of what waits in Optuna's queue."""
    connection = op.get_bind()
    for study_id, optuna_id, plan in connection.execute(
        sa.select(studies.c.id, studies.c.study_id, studies.c.plan)
    ).all():
        keys = _rewrite_candidates(connection, study_id)
        layers = connection.scalar(
            sa.select(candidates.c.recipe).where(candidates.c.ac_study_id == study_id, candidates.c.number == 0)
        )
        pinned = _pinned(plan.get("space") or {}, (layers or {}).get("depth"))
        _rewrite_queue(connection, optuna_id, keys, pinned)


def _rewrite_candidates(connection: sa.Connection, study_id: int) -> dict[str, str]:
    """Rewrite the keys of a study's candidates; return old key -> new key."""
    keys: dict[str, str] = {}
    query = sa.select(candidates.c.id, candidates.c.recipe, candidates.c.recipe_key)
    for row_id, recipe, old in connection.execute(query.where(candidates.c.ac_study_id == study_id)).all():
        keys[old] = _new_key(recipe)
        connection.execute(candidates.update().where(candidates.c.id == row_id).values(recipe_key=keys[old]))
    return keys


def _rewrite_queue(connection: sa.Connection, optuna_id: int, keys: dict[str, str], pinned: Json) -> None:
    trial_ids = sa.select(trials.c.trial_id).where(trials.c.study_id == optuna_id)
    rows = connection.execute(
        sa.select(attributes).where(
            attributes.c.trial_id.in_(trial_ids), attributes.c.key.in_((QUEUED, "fixed_params"))
        )
    ).all()
    params = {row.trial_id: json.loads(row.value_json) for row in rows if row.key == "fixed_params"}
    for row in rows:
        old = json.loads(row.value_json) if row.key == QUEUED else ""
        if not old:
            continue
        recipe = _recipe_of(pinned, params.get(row.trial_id, {}))
        if old not in keys and _old_key(recipe) == old:
            keys[old] = _new_key(recipe)
        if old not in keys:
            log.warning("trial_id %s: the recipe with the key %s is not known; its key stays", row.trial_id, old[:12])
            continue
        is_row = attributes.c.trial_system_attribute_id == row.trial_system_attribute_id
        connection.execute(attributes.update().where(is_row).values(value_json=json.dumps(keys[old])))


def _pinned(space: Mapping[str, object], layers: int | None) -> Json:
    """Return the decisions of a stored space that have one value, with neutral values of the others."""
    pinned: Json = {**NEUTRAL, "depth": layers}
    for name, values in space.items():
        listed = values if isinstance(values, list) else [values]
        if name in NEUTRAL and len(listed) == 1 and not isinstance(values, Mapping):
            pinned[name] = layers if listed[0] == "all" else listed[0]
    return pinned


def _recipe_of(pinned: Json, params: Json) -> Json:
    """Return the recipe of a waiting trial's parameters, in the number types that it was hashed in."""
    recipe: Json = {name: params.get(name, value) for name, value in pinned.items()}
    if recipe["attention"] != "local":
        recipe["attention_window"] = None
    for name in ("head_sparsity", "ffn_sparsity"):
        recipe[name] = round(float(recipe[name]), 9)
    return recipe


def _old_key(recipe: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _new_key(recipe: Mapping[str, object]) -> str:
    return _old_key({name: value for name, value in recipe.items() if value != NEUTRAL.get(name)})
