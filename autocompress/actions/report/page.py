"""Render a report as one HTML file that needs no network."""

from __future__ import annotations

import json
import re
from typing import Any

import jinja2
import plotly.offline
from markupsafe import Markup, escape

from autocompress import __version__
from autocompress.actions.report.report_data import ReportData
from autocompress.core.composed_speedup import KEY, ComposedSpeedup
from autocompress.core.formatting import drop_text, duration, megabytes, ms, points, times
from autocompress.core.measurement import describe_operators
from autocompress.core.teacher_warning import describe_warnings
from autocompress.study import plots

STRUCTURE = {  # key of a trial's facts -> its name on the page
    "parameters": "parameters",
    "kept_layers": "kept layers of the teacher, counted from 0",
    "heads": "heads per layer",
    "neurons": "neurons per layer",
}


def render(report: ReportData, metric: str, commands: dict[str, str]) -> str:
    """Return the page. `commands` maps a description to the command that the end of the page prints for it."""
    outcome = report.details.outcome
    conditions = outcome.measurement.conditions if outcome.measurement else {}
    operators = conditions.get("operators") or []
    composed = ComposedSpeedup.from_conditions(conditions)
    shown = {**conditions, **({KEY: composed.describe()} if composed else {})}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            view=report.view,
            row=report.chosen,
            metric=metric,
            version=__version__,
            plots={name: _script_json(plot) for name, plot in _figures(report).items()},
            plotly=plotly.offline.get_plotlyjs(),
            conditions=shown,
            operators=operators,
            operators_sentence=describe_operators(operators) if operators else "",
            versions=report.teacher.outcome.facts.get("versions", {}),
            structure=_structure(outcome.facts),
            commands=commands,
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autocompress.actions.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "points": points, "ms": ms, "mb": megabytes, "times": times, "duration": duration,
        "describe_warnings": describe_warnings, "mark_code": mark_code,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }  # fmt: skip
    environment.globals |= {"drop": drop_text}
    return environment


def mark_code(sentence: str) -> Markup:
    """Return a sentence as HTML, with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))


def _figures(report: ReportData) -> dict[str, Any]:
    """Return the plots for which there is enough data."""
    figures: dict[str, Any] = {"front": plots.plot_front(report.view.rows, report.chosen)}
    if len(report.growth) > 1:
        figures["growth"] = plots.plot_growth(report.growth, report.view.seconds)
    if report.view.fine_tuning is not None and report.view.fine_tuning.curve:
        figures["teacher"] = plots.plot_learning_curves(report.view.fine_tuning)
    if report.importances:
        figures["importances"] = plots.plot_importances(report.importances)
    if drops := plots.plot_drops(report.view.rows):
        figures["drops"] = drops
    return figures


def _script_json(value: object) -> str:
    """Return JSON that cannot close the script element around it."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _structure(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the structure that the recipe gave, as names and texts."""
    return [
        (name, f"{facts[key]:,}" if isinstance(facts[key], int) else ", ".join(map(str, facts[key])))
        for key, name in STRUCTURE.items()
        if facts.get(key)
    ]
