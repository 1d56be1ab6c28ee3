"""The HTML of a report: everything it needs is inside of it."""

from __future__ import annotations

import json
from typing import Any

import jinja2
import plotly.offline

from autocompress import __version__
from autocompress.actions.report.facts import ReportData
from autocompress.core.formatting import drop_text, duration, megabytes, ms, points, times
from autocompress.core.measurement import describe_operators
from autocompress.study import plots


def render(facts: ReportData, metric: str, commands: dict[str, str]) -> str:
    """The page. `commands`: words -> a command to type, for its end."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autocompress.actions.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "points": points, "ms": ms, "mb": megabytes, "times": times, "duration": duration,
    }  # fmt: skip
    environment.globals |= {"drop": drop_text}
    figures: dict[str, Any] = {"front": plots.plot_front(facts.view.rows, facts.chosen)}
    if len(facts.growth) > 1:
        figures["growth"] = plots.plot_growth(facts.growth, facts.view.seconds)
    if facts.importances:
        figures["importances"] = plots.plot_importances(facts.importances)
    if drops := plots.plot_drops(facts.view.rows):
        figures["drops"] = drops
    outcome = facts.details.outcome
    conditions = outcome.measurement.conditions if outcome.measurement else {}
    operators = conditions.get("operators") or []
    return environment.get_template("page.html.j2").render(
        facts=facts,
        view=facts.view,
        row=facts.chosen,
        metric=metric,
        version=__version__,
        plots={name: _script_json(plot) for name, plot in figures.items()},
        plotly=plotly.offline.get_plotlyjs(),
        conditions=conditions,
        operators=operators,
        operators_words=describe_operators(operators) if operators else "",
        versions=facts.teacher.outcome.facts.get("versions", {}),
        shape=_shape(outcome.facts),
        commands=commands,
    )


def _script_json(value: Any) -> str:
    """JSON that cannot end the script it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _shape(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What the recipe became, in words."""
    named = {"parameters": "parameters", "kept_layers": "layers of the teacher, from 0", "heads": "heads of each",
             "neurons": "neurons of each"}  # fmt: skip
    return [
        (words, f"{facts[key]:,}" if isinstance(facts[key], int) else ", ".join(map(str, facts[key])))
        for key, words in named.items()
        if facts.get(key)
    ]
