"""Plots of a study, as plotly's JSON: the dashboard and the report show the same ones. They are made without plotly.

Colours are Okabe and Ito's, made for colour-blind readers; shapes differ, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log2, log10, sqrt
from typing import Any

import numpy as np

from autocompress.core.formatting import drop_text, megabytes, ms, times
from autocompress.core.recipe import DECISIONS
from autocompress.core.trial_row import TrialRow

BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#8a8a8a", "#009E73"
LARGEST, SMALLEST = 26.0, 7.0  # pixels of a mark
FEWEST_TRIALS = 8  # before anything is said of a decision
NAMES = {"quality": "quality", "latency_ms": "latency", "size_mb": "size"}
AXIS = {"gridcolor": "#e6e6e6", "zeroline": False, "automargin": True}
LAYOUT: dict[str, Any] = {
    "font": {"family": "system-ui, sans-serif", "size": 14},
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "margin": {"l": 70, "r": 20, "t": 10, "b": 60},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    "hoverlabel": {"align": "left"},
}
Figure = dict[str, Any]
Growth = Sequence[tuple[float, float]]  # seconds of the study, hypervolume


def titled(figure: Figure, title: str) -> Figure:
    """The figure with a title above it, for pages that give it none."""
    margin = {**LAYOUT["margin"], "t": 90}
    return {**figure, "layout": {**figure["layout"], "title": {"text": title}, "margin": margin}}


def front(rows: Sequence[TrialRow], chosen: TrialRow | None = None) -> Figure:
    """Drop against latency with intervals: the front on test where all of it was measured there, else on validation.

    `chosen` gets a mark of its own.
    """
    members, teacher = [row for row in rows if row.on_front], [row for row in rows if row.trial == 0]
    tested = bool(members) and all(row.test_drop is not None for row in [*members, *([chosen] if chosen else [])])
    others = [row for row in rows if row.state == "complete" and not row.on_front and row.trial != 0]
    told = None if chosen is None else chosen.trial
    traces = []
    if not tested:
        traces.append(_marks("other trials", others, GREY, "circle-open", False, 0.5))
    traces.append(_marks("the front", [row for row in members if row.trial != told], BLUE, "circle", tested, 0.85))
    if chosen is not None:
        traces.append(_marks(f"trial {told}, told below", [chosen], GREEN, "diamond", tested, 1.0))
    traces.append(_marks("the teacher", teacher, ORANGE, "square", tested, 1.0))
    split = "test" if tested else "validation"
    title = {"text": "latency, ms (logarithmic; left is faster)"}
    return {
        "data": [trace for trace in traces if trace["x"]],
        "layout": {
            **LAYOUT,
            "height": 460,
            "xaxis": {**AXIS, **_logarithmic([x for trace in traces for x in trace["x"]]), "title": title},
            "yaxis": {**AXIS, "autorange": "reversed", "title": {"text": f"drop on {split}, points (up is better)"}},
        },
    }


def growth(grown: Growth, seconds: float) -> Figure:
    """Hypervolume over the time of the study, which has taken `seconds`."""
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "line": {"shape": "hv", "color": BLUE, "width": 3},
                "x": [*(moment / 60 for moment, _ in grown), seconds / 60],
                "y": [*(value for _, value in grown), grown[-1][1] if grown else 0.0],
                "hovertemplate": "%{x:.1f} min: %{y:.1f}<extra></extra>",
            }
        ],
        "layout": {
            **LAYOUT,
            "height": 300,
            "xaxis": {**AXIS, "title": {"text": "minutes of the study"}, "rangemode": "tozero"},
            "yaxis": {**AXIS, "title": {"text": "hypervolume"}, "rangemode": "tozero"},
        },
    }


def importances(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """Shares of variance that decisions explain (see `explained`), a group of bars each."""
    decisions = list(dict.fromkeys(decision for found in shares.values() for decision in found))
    colours = dict(zip(shares, (GREEN, BLUE, ORANGE), strict=False))
    patterns = dict(zip(shares, ("", "/", "x"), strict=False))
    return {
        "data": [
            {
                "type": "bar",
                "name": NAMES.get(objective, objective),
                "x": [decision.replace("_", " ") for decision in decisions],
                "y": [100 * found.get(decision, 0.0) for decision in decisions],
                "marker": {"color": colours[objective], "pattern": {"shape": patterns[objective]}},
                "hovertemplate": "%{x}: %{y:.0f} %<extra></extra>",
            }
            for objective, found in shares.items()
        ],
        "layout": {
            **LAYOUT,
            "height": 340,
            "barmode": "group",
            "xaxis": {**AXIS},
            "yaxis": {**AXIS, "title": {"text": "share of the variance, %"}, "range": [0, 100]},
        },
    }


def drops(rows: Sequence[TrialRow]) -> Figure | None:
    """The drops of the trials by the value of one decision at a time, which a menu chooses; null with under 8 trials.

    The decision that explains most of the quality comes first. A box spans the middle half, its line is the median.
    """
    shares = explained(rows, ("quality",)).get("quality")
    if not shares:
        return None
    complete = _complete(rows)
    traces, steps = [], list[dict[str, Any]]()
    for place, decision in enumerate(shares):
        values = [row.recipe.as_dict()[decision] for row in complete]
        order = sorted({value for value in values if value is not None}, key=lambda value: (str(type(value)), value))
        names = [_value_text(value) for value in [*order, *([None] if None in values else [])]]
        title = decision.replace("_", " ")
        traces.append({
            "type": "box", "boxpoints": "all", "jitter": 0.5, "pointpos": 0, "showlegend": False, "visible": place == 0,
            "x": [_value_text(value) for value in values],
            "y": [100 * (row.drop or 0.0) for row in complete],
            "text": [f"trial {row.trial}: {row.describe()}" for row in complete],
            "marker": {"color": BLUE, "size": 4, "opacity": 0.5}, "line": {"color": BLUE}, "fillcolor": "rgba(0,114,178,0.12)",
            "hovertemplate": "%{text}<br>drop %{y:.1f} points<extra></extra>",
        })  # fmt: skip
        axis = {"xaxis.title.text": title, "xaxis.categoryarray": names}
        steps.append({
            "label": title, "method": "update",
            "args": [{"visible": [other == place for other in range(len(shares))]}, axis],
        })  # fmt: skip
    first = steps[0]["args"][1]
    return {
        "data": traces,
        "layout": {
            **LAYOUT,
            "height": 420,
            "margin": {**LAYOUT["margin"], "t": 60},
            "xaxis": {
                **AXIS, "type": "category", "categoryorder": "array",
                "categoryarray": first["xaxis.categoryarray"], "title": {"text": first["xaxis.title.text"]},
            },
            "yaxis": {**AXIS, "autorange": "reversed", "title": {"text": "drop on validation, points (up is better)"}},
            "updatemenus": [{"buttons": steps, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}],
        },
    }  # fmt: skip


def explained(rows: Sequence[TrialRow], objectives: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each objective the share of its variance over the complete trials that the values of each decision explain alone.

    Correlation ratio η² = variance of the groups' means ÷ variance, a first-order Sobol index where values were drawn
    independently; latency and size on a logarithmic scale. Decisions with one value are left out. Empty with under 8 trials.
    """
    complete = _complete(rows)
    if len(complete) < FEWEST_TRIALS:
        return {}
    found: dict[str, dict[str, float]] = {}
    for objective in objectives:
        values = np.array([_scaled(row, objective) for row in complete])
        total = float(values.var())
        shares = {}
        for decision in DECISIONS:
            settings = [str(row.recipe.as_dict()[decision]) for row in complete]
            if len(set(settings)) > 1 and total > 0:
                groups = [values[[one == setting for one in settings]] for setting in set(settings)]
                between = sum(len(group) * (group.mean() - values.mean()) ** 2 for group in groups) / len(values)
                shares[decision] = float(between / total)
        found[objective] = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return found


def _complete(rows: Sequence[TrialRow]) -> list[TrialRow]:
    return [row for row in rows if row.trial != 0 and row.state == "complete" and row.quality is not None]


def _scaled(row: TrialRow, objective: str) -> float:
    value = float(getattr(row, objective))
    return value if objective == "quality" else log2(max(value, 1e-9))


def _value_text(value: Any) -> str:
    """A value of a decision as a category: fractions in percent, null as a dash."""
    return "–" if value is None else f"{value:.0%}" if isinstance(value, float) else str(value)


def _marks(name: str, rows: Sequence[TrialRow], colour: str, symbol: str, tested: bool, opacity: float) -> Figure:
    drops = [(row.test_drop if tested else row.drop) or 0.0 for row in rows]
    intervals = [row.test_drop_interval if tested else row.drop_interval for row in rows]
    speeds = [row.speedup_interval or (row.speedup or 1.0, row.speedup or 1.0) for row in rows]
    latencies = [row.latency_ms or 0.0 for row in rows]
    teachers = [latency * (row.speedup or 1.0) for row, latency in zip(rows, latencies, strict=True)]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": latencies,
        "y": [100 * drop for drop in drops],
        "text": [_words(row, drop, interval) for row, drop, interval in zip(rows, drops, intervals, strict=True)],
        "hoverinfo": "text",
        "marker": {"color": colour, "symbol": symbol, "opacity": opacity, "size": [_size(row) for row in rows]},
    }
    if not name.startswith("other") and rows and rows[0].trial != 0:
        trace["error_y"] = {
            "type": "data", "symmetric": False, "color": colour, "thickness": 1, "width": 0,
            "array": [100 * (i[1] - d) if i else 0.0 for d, i in zip(drops, intervals, strict=True)],
            "arrayminus": [100 * (d - i[0]) if i else 0.0 for d, i in zip(drops, intervals, strict=True)],
        }  # fmt: skip
        trace["error_x"] = {
            "type": "data", "symmetric": False, "color": colour, "thickness": 1, "width": 0,
            "array": [t / s[0] - x for t, s, x in zip(teachers, speeds, latencies, strict=True)],
            "arrayminus": [x - t / s[1] for t, s, x in zip(teachers, speeds, latencies, strict=True)],
        }  # fmt: skip
    return trace


def _logarithmic(values: Sequence[float]) -> Figure:
    """An axis whose labels are whole numbers: between powers of ten plotly writes the first digit alone."""
    found = [value for value in values if value > 0] or [1.0]
    low, high = log10(min(found)), log10(max(found))
    digits = (1, 2, 5) if high - low > 1 else (1, 1.5, 2, 3, 4, 5, 7)
    at = [float(f"{digit}e{power}") for power in range(floor(low) - 1, ceil(high) + 2) for digit in digits]
    return {"type": "log", "tickmode": "array", "tickvals": at, "ticktext": [f"{value:g}" for value in at]}


def _size(row: TrialRow) -> float:
    """Of a mark: its area is the size of the model beside the teacher's."""
    return max(SMALLEST, LARGEST / sqrt(row.compression or 1.0))


def _words(row: TrialRow, drop: float, interval: tuple[float, float] | None) -> str:
    lines = [
        f"trial {row.trial}: {row.describe()}",
        f"{ms(row.latency_ms or 0.0)} ms, {times(row.speedup)} as fast as the teacher",
    ]
    if row.trial != 0:
        lines.append(f"drop {drop_text(drop, interval)} points")
    return "<br>".join([*lines, f"{megabytes(row.size_mb or 0.0)} MB, {times(row.compression)} smaller"])
