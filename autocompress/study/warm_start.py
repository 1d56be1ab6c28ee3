"""Initial recipes from earlier studies of the same model in the same database, whatever its fine-tuning was."""

from __future__ import annotations

from autocompress.config import StudyPlan
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.study.study_view import read_study, studies

MOST_RECIPES = 8


def warm_start_recipes(plan: StudyPlan) -> list[Recipe]:
    """Return at most 8 recipes from the fronts of other studies of this model and task, spread over their latencies."""
    identity = plan.identity()
    front: dict[str, TrialRow] = {}
    for name in studies(plan.storage):
        if name == plan.study:
            continue
        view = read_study(plan.storage, name)
        is_same_model = view.plan["teacher"].get("model") == identity["teacher"]["model"]
        if is_same_model and view.plan.get("task") == identity["task"]:
            front |= {row.recipe.key: row for row in view.front}
    rows = sorted(front.values(), key=lambda row: (row.latency_ms or 0.0, row.recipe.key))
    last = MOST_RECIPES - 1
    indices = {round(step * (len(rows) - 1) / last) for step in range(MOST_RECIPES)} if rows else set()
    return [rows[index].recipe for index in sorted(indices)]
