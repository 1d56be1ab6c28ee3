"""What earlier studies of the same teacher found, in the same database: a good place to begin."""

from __future__ import annotations

from autocompress.config import StudyPlan
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.study.queries import read_study, studies

MOST = 8


def warm_start_recipes(plan: StudyPlan) -> list[Recipe]:
    """At most 8 recipes from the fronts of other studies with this teacher and task, spread over their latencies."""
    mine = plan.identity()
    found: dict[str, TrialRow] = {}
    for name in studies(plan.storage):
        if name == plan.study:
            continue
        view = read_study(plan.storage, name)
        if all(view.plan.get(key) == mine[key] for key in ("teacher", "task")):
            found |= {row.recipe.key: row for row in view.front}
    rows = sorted(found.values(), key=lambda row: (row.latency_ms or 0.0, row.recipe.key))
    chosen = {round(place * (len(rows) - 1) / (MOST - 1)) for place in range(MOST)} if rows else set()
    return [rows[index].recipe for index in sorted(chosen)]
