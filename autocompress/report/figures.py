"""Plots of a report, as plotly's JSON. Colours are Okabe and Ito's, made for colour-blind readers; shapes differ, too."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from autocompress.measurement import Result
from autocompress.report.facts import Facts
from autocompress.show.numbers import drop_text, megabytes, ms, times

BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#8a8a8a", "#009E73"
LARGEST, SMALLEST = 26.0, 7.0  # pixels of a mark
AXIS = {"gridcolor": "#e6e6e6", "zeroline": False, "automargin": True}
LAYOUT: dict[str, Any] = {
    "font": {"family": "system-ui, sans-serif", "size": 14},
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "margin": {"l": 70, "r": 20, "t": 10, "b": 60},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    "hoverlabel": {"align": "left"},
}


def front(facts: Facts) -> dict[str, Any]:
    """Drop against latency with intervals: the front on test where all of it was measured there, else on validation."""
    view = facts.view
    tested = bool(view.front) and all(row.test_drop is not None for row in view.front)
    others = [row for row in view.rows if row.state == "complete" and not row.on_front and row.trial != 0]
    traces = []
    if not tested:
        traces.append(_marks("other trials", others, GREY, "circle-open", False, 0.5))
    chosen = [row for row in view.front if row.trial == facts.chosen.trial]
    rest = [row for row in view.front if row.trial != facts.chosen.trial]
    traces.append(_marks("the front", rest, BLUE, "circle", tested, 0.85))
    traces.append(
        _marks(f"trial {facts.chosen.trial}, told below", chosen or [facts.chosen], GREEN, "diamond", tested, 1.0)
    )
    if view.teacher is not None:
        traces.append(_marks("the teacher", [view.teacher], ORANGE, "square", tested, 1.0))
    split = "test" if tested else "validation"
    return {
        "data": [trace for trace in traces if trace["x"]],
        "layout": {
            **LAYOUT,
            "height": 460,
            "xaxis": {**AXIS, "type": "log", "title": {"text": "latency, ms (logarithmic; left is faster)"}},
            "yaxis": {**AXIS, "autorange": "reversed", "title": {"text": f"drop on {split}, points (up is better)"}},
        },
    }


def growth(facts: Facts) -> dict[str, Any]:
    """Hypervolume over the time of the study."""
    minutes = [seconds / 60 for seconds, _ in facts.growth]
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "line": {"shape": "hv", "color": BLUE, "width": 3},
                "x": [*minutes, facts.view.seconds / 60],
                "y": [*(value for _, value in facts.growth), facts.growth[-1][1] if facts.growth else 0.0],
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


def importances(facts: Facts) -> dict[str, Any]:
    """Shares of variance that decisions explain, a group of bars each."""
    found = facts.importances
    decisions = list(dict.fromkeys(decision for shares in found.values() for decision in shares))
    colours = dict(zip(found, (GREEN, BLUE, ORANGE), strict=False))
    patterns = dict(zip(found, ("", "/", "x"), strict=False))
    names = {"quality": "quality", "latency_ms": "latency", "size_mb": "size"}
    return {
        "data": [
            {
                "type": "bar",
                "name": names.get(objective, objective),
                "x": [decision.replace("_", " ") for decision in decisions],
                "y": [100 * shares.get(decision, 0.0) for decision in decisions],
                "marker": {"color": colours[objective], "pattern": {"shape": patterns[objective]}},
                "hovertemplate": "%{x}: %{y:.0f} %<extra></extra>",
            }
            for objective, shares in found.items()
        ],
        "layout": {
            **LAYOUT,
            "height": 340,
            "barmode": "group",
            "xaxis": {**AXIS},
            "yaxis": {**AXIS, "title": {"text": "share of the variance, %"}, "range": [0, 100]},
        },
    }


def _marks(name: str, rows: Sequence[Result], colour: str, symbol: str, tested: bool, opacity: float) -> dict[str, Any]:
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


def _size(row: Result) -> float:
    """Of a mark: its area is the size of the model beside the teacher's."""
    return max(SMALLEST, LARGEST / sqrt(row.compression or 1.0))


def _words(row: Result, drop: float, interval: tuple[float, float] | None) -> str:
    lines = [
        f"trial {row.trial}: {row.in_words()}",
        f"{ms(row.latency_ms or 0.0)} ms, {times(row.speedup)} as fast as the teacher",
    ]
    if row.trial != 0:
        lines.append(f"drop {drop_text(drop, interval)} points")
    return "<br>".join([*lines, f"{megabytes(row.size_mb or 0.0)} MB, {times(row.compression)} smaller"])
