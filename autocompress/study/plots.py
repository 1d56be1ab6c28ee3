"""Plots of a study as plotly's JSON, built without plotly: the dashboard and the report show the same ones.

The colours are Okabe and Ito's for colour-blind readers; the shapes of marks differ, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10, sqrt

from autocompress.core.fine_tuning_record import FineTuningRecord, describe_setting
from autocompress.core.formatting import drop_text, megabytes, ms, times
from autocompress.core.json_types import Json
from autocompress.core.recipe import Scalar
from autocompress.core.trial_row import TrialRow
from autocompress.study.decision_importance import complete_rows, explained_variance

BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#8a8a8a", "#009E73"
LARGEST, SMALLEST = 26.0, 7.0  # pixels of a mark
NAMES = {"quality": "quality", "latency_ms": "latency", "size_mb": "size"}
AXIS = {"gridcolor": "#e6e6e6", "zeroline": False, "automargin": True}
LAYOUT: Json = {
    "font": {"family": "system-ui, sans-serif", "size": 14},
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "margin": {"l": 70, "r": 20, "t": 10, "b": 60},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    "hoverlabel": {"align": "left"},
}
Figure = Json
Growth = Sequence[tuple[float, float]]  # seconds of the study, hypervolume


def add_title(figure: Figure, title: str) -> Figure:
    """Return the figure with a title above it."""
    margin = {**LAYOUT["margin"], "t": 90}
    return {**figure, "layout": {**figure["layout"], "title": {"text": title}, "margin": margin}}


def plot_front(rows: Sequence[TrialRow], chosen: TrialRow | None = None) -> Figure:
    """Plot drop against latency with intervals: on test where the whole front was measured there, else on validation.

    `chosen` gets a different mark.
    """
    members, teacher = [row for row in rows if row.on_front], [row for row in rows if row.trial == 0]
    tested = bool(members) and all(row.test_drop is not None for row in [*members, *([chosen] if chosen else [])])
    dominated = [row for row in rows if row.state == "complete" and not row.on_front and row.trial != 0]
    chosen_trial = None if chosen is None else chosen.trial
    traces = []
    if not tested:
        traces.append(_marks("other trials", dominated, GREY, "circle-open", False, 0.5))
    traces.append(
        _marks("the front", [row for row in members if row.trial != chosen_trial], BLUE, "circle", tested, 0.85)
    )
    if chosen is not None:
        traces.append(_marks(f"trial {chosen_trial}, described below", [chosen], GREEN, "diamond", tested, 1.0))
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


def plot_growth(growth: Growth, seconds: float) -> Figure:
    """Plot the hypervolume over the time of the study, which has taken `seconds`."""
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "line": {"shape": "hv", "color": BLUE, "width": 3},
                "x": [*(moment / 60 for moment, _ in growth), seconds / 60],
                "y": [*(value for _, value in growth), growth[-1][1] if growth else 0.0],
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


def plot_learning_curves(record: FineTuningRecord) -> Figure:
    """Plot the teacher's learning curve, and what the settings reached that were tried before."""
    traces = [
        {
            **_curve(trial["curve"], describe_setting(trial["setting"])),
            "line": {"color": GREY, "width": 1},
            "marker": {"size": 6},
            "opacity": 0.7,
        }
        for trial in record.trials
    ]
    name = f"the teacher, {describe_setting(record.settings)}"
    traces.append({**_curve(record.curve, name), "line": {"color": BLUE, "width": 3}, "marker": {"size": 9}})
    return {
        "data": [trace for trace in traces if trace["x"]],
        "layout": {
            **LAYOUT,
            "height": 380,
            "showlegend": len(traces) > 1,
            "legend": {"x": 1, "xanchor": "right", "y": 0, "yanchor": "bottom", "font": {"size": 11}},
            "xaxis": {**AXIS, "title": {"text": "rows learned, repeated ones included"}, "rangemode": "tozero"},
            "yaxis": {**AXIS, "title": {"text": "quality, %"}},
        },
    }


def _curve(points: Sequence[Json], name: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [point["rows"] for point in points],
        "y": [100 * point["quality"] for point in points],
        "hovertemplate": "%{y:.1f} after %{x:,} rows<extra>%{fullData.name}</extra>",
    }


def plot_importances(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """Plot the shares of variance that decisions explain (see `explained_variance`), a group of bars each."""
    decisions = list(dict.fromkeys(decision for by_decision in shares.values() for decision in by_decision))
    colours = dict(zip(shares, (GREEN, BLUE, ORANGE), strict=False))
    patterns = dict(zip(shares, ("", "/", "x"), strict=False))
    return {
        "data": [
            {
                "type": "bar",
                "name": NAMES.get(objective, objective),
                "x": [decision.replace("_", " ") for decision in decisions],
                "y": [100 * by_decision.get(decision, 0.0) for decision in decisions],
                "marker": {"color": colours[objective], "pattern": {"shape": patterns[objective]}},
                "hovertemplate": "%{x}: %{y:.0f} %<extra></extra>",
            }
            for objective, by_decision in shares.items()
        ],
        "layout": {
            **LAYOUT,
            "height": 340,
            "barmode": "group",
            "xaxis": {**AXIS},
            "yaxis": {**AXIS, "title": {"text": "share of the variance, %"}, "range": [0, 100]},
        },
    }


def plot_drops(rows: Sequence[TrialRow]) -> Figure | None:
    """Plot the drops of the trials by the value of one decision, which a menu selects; null with under 8 trials.

    The decision that explains most of the quality comes first. A box spans the middle half, its line is the median.
    """
    shares = explained_variance(rows, ("quality",)).get("quality")
    if not shares:
        return None
    complete = complete_rows(rows)
    traces = [_drop_boxes(complete, decision, visible=index == 0) for index, decision in enumerate(shares)]
    axes = [_decision_axis(complete, decision) for decision in shares]
    buttons = [
        {"label": axis["xaxis.title.text"], "method": "update",
         "args": [{"visible": [trace == index for trace in range(len(shares))]}, axis]}
        for index, axis in enumerate(axes)
    ]  # fmt: skip
    return {
        "data": traces,
        "layout": {
            **LAYOUT,
            "height": 420,
            "margin": {**LAYOUT["margin"], "t": 60},
            "xaxis": {
                **AXIS, "type": "category", "categoryorder": "array",
                "categoryarray": axes[0]["xaxis.categoryarray"], "title": {"text": axes[0]["xaxis.title.text"]},
            },
            "yaxis": {**AXIS, "autorange": "reversed", "title": {"text": "drop on validation, points (up is better)"}},
            "updatemenus": [{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}],
        },
    }  # fmt: skip


def _drop_boxes(rows: Sequence[TrialRow], decision: str, visible: bool) -> Figure:
    return {
        "type": "box", "boxpoints": "all", "jitter": 0.5, "pointpos": 0, "showlegend": False, "visible": visible,
        "x": [_value_text(row.recipe[decision]) for row in rows],
        "y": [100 * (row.drop or 0.0) for row in rows],
        "text": [f"trial {row.trial}: {row.describe()}" for row in rows],
        "marker": {"color": BLUE, "size": 4, "opacity": 0.5}, "line": {"color": BLUE}, "fillcolor": "rgba(0,114,178,0.12)",
        "hovertemplate": "%{text}<br>drop %{y:.1f} points<extra></extra>",
    }  # fmt: skip


def _decision_axis(rows: Sequence[TrialRow], decision: str) -> Figure:
    """Return the title and the sorted values of a decision, as settings of the horizontal axis."""
    values = [row.recipe[decision] for row in rows]
    order = sorted({value for value in values if value is not None}, key=lambda value: (str(type(value)), value))
    names = [_value_text(value) for value in [*order, *([None] if None in values else [])]]
    return {"xaxis.title.text": decision.replace("_", " "), "xaxis.categoryarray": names}


def _value_text(value: Scalar) -> str:
    """Format a value of a decision as a category: fractions in percent, null as a dash."""
    return "–" if value is None else f"{value:.0%}" if isinstance(value, float) else str(value)


def _marks(name: str, rows: Sequence[TrialRow], colour: str, symbol: str, tested: bool, opacity: float) -> Figure:
    drops = [(row.test_drop if tested else row.drop) or 0.0 for row in rows]
    intervals = [row.test_drop_interval if tested else row.drop_interval for row in rows]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [row.latency_ms or 0.0 for row in rows],
        "y": [100 * drop for drop in drops],
        "text": [_hover_text(row, drop, interval) for row, drop, interval in zip(rows, drops, intervals, strict=True)],
        "hoverinfo": "text",
        "marker": {"color": colour, "symbol": symbol, "opacity": opacity, "size": [_mark_size(row) for row in rows]},
    }
    if not name.startswith("other") and rows and rows[0].trial != 0:
        bars = {"type": "data", "symmetric": False, "color": colour, "thickness": 1, "width": 0}
        trace["error_y"] = bars | _drop_errors(drops, intervals)
        trace["error_x"] = bars | _latency_errors(rows)
    return trace


def _drop_errors(drops: Sequence[float], intervals: Sequence[tuple[float, float] | None]) -> Figure:
    """Return the lengths of the bars from each drop to the ends of its interval, in points."""
    pairs = list(zip(drops, intervals, strict=True))
    return {
        "array": [100 * (interval[1] - drop) if interval else 0.0 for drop, interval in pairs],
        "arrayminus": [100 * (drop - interval[0]) if interval else 0.0 for drop, interval in pairs],
    }


def _latency_errors(rows: Sequence[TrialRow]) -> Figure:
    """Return the lengths of the bars from each latency to the ends of its interval, which follows from that of the speed-up."""
    latencies = [row.latency_ms or 0.0 for row in rows]
    speedups = [row.speedup_interval or (row.speedup or 1.0, row.speedup or 1.0) for row in rows]
    teachers = [latency * (row.speedup or 1.0) for row, latency in zip(rows, latencies, strict=True)]
    triples = list(zip(teachers, speedups, latencies, strict=True))
    return {
        "array": [teacher / low - latency for teacher, (low, _), latency in triples],
        "arrayminus": [latency - teacher / high for teacher, (_, high), latency in triples],
    }


def _logarithmic(values: Sequence[float]) -> Figure:
    """Return an axis with complete labels: between powers of ten plotly writes the first digit alone."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = log10(min(positive)), log10(max(positive))
    digits = (1, 2, 5) if high - low > 1 else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [float(f"{digit}e{power}") for power in range(floor(low) - 1, ceil(high) + 2) for digit in digits]
    return {"type": "log", "tickmode": "array", "tickvals": ticks, "ticktext": [f"{value:g}" for value in ticks]}


def _mark_size(row: TrialRow) -> float:
    """Return the diameter of a mark: its area is proportional to the size of the model."""
    return max(SMALLEST, LARGEST / sqrt(row.compression or 1.0))


def _hover_text(row: TrialRow, drop: float, interval: tuple[float, float] | None) -> str:
    lines = [
        f"trial {row.trial}: {row.describe()}",
        f"{ms(row.latency_ms or 0.0)} ms, {times(row.speedup)} as fast as the teacher",
    ]
    if row.trial != 0:
        lines.append(f"drop {drop_text(drop, interval)} points")
    return "<br>".join([*lines, f"{megabytes(row.size_mb or 0.0)} MB, {times(row.compression)} smaller"])
