"""The report of the search-efficiency benchmark: the tables of the README and the picture of the curves."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from benchmarks.search_efficiency_records import LOOPS, PARTS, SEEDS, SETS, Record, Run, read_records

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- efficiency: begin (written by benchmarks/search_efficiency.py) -->", "<!-- efficiency: end -->"


def write_report() -> None:
    """Rewrite the tables of README.md and docs/search_efficiency.svg."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    draw_curves(read_records())
    readme.write_text(f"{before}{BEGIN}\n{render_report()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def render_report() -> str:
    """Render the tables as Markdown."""
    records = read_records()
    if not records:
        return "Not run yet."
    lines = [*_race_lines(records), *_equal_time_lines(records), *_part_lines(records)]
    cpus = sorted({record.cpu for record in records.values()})
    return "\n".join([*lines, "", f"Two workers on two cores ({', '.join(cpus)})."])


def _race_lines(records: Mapping[Run, Record]) -> list[str]:
    """Render the time that the engine needs for the hypervolume of the plain loop."""
    lines = [
        "| set | seed | plain loop, 30 trials | its hypervolume | the engine has that after | from then on after | ratio |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in SETS:
        for seed in SEEDS:
            loop, engine = records.get(Run(name, "loop-tpe", seed)), records.get(Run(name, "engine", seed))
            if loop and engine:
                lines.append(_race_line(loop, engine))
    return lines


def _race_line(loop: Record, engine: Record) -> str:
    end, goal = loop.curve[-1]
    moments = engine.find_goal_moments(goal)
    first, lasting, ratio = (
        (f"{moments[0]:.0f} s", f"{moments[1]:.0f} s", f"1/{end / moments[0]:.1f}")
        if moments
        else ("not reached", "", "")
    )
    return f"| {loop.set} | {loop.seed} | {end:.0f} s | {goal:.1f} | {first} | {lasting} | {ratio} |"


def _equal_time_lines(records: Mapping[Run, Record]) -> list[str]:
    """Render the hypervolume of the engine and of each loop at equal time."""
    lines = [
        "",
        "| set | search | hypervolume on test at equal time: median (lowest … highest) | seeds |",
        "|---|---|--:|--:|",
    ]
    for name, data_set in SETS.items():
        for arm in ("engine", *LOOPS):
            if spread := _spread(records, name, arm):
                lines.append(f"| {name} ({data_set.minutes:g} min) | {arm} | {' | '.join(spread)} |")
    return lines


def _part_lines(records: Mapping[Run, Record]) -> list[str]:
    """Render the loss when one part is off: at the end, and in the time until the engine passes the plain loop."""
    name = "trec"
    lines = [
        "",
        f"| {name}, one part off | hypervolume on test after {SETS[name].minutes:g} min: median (lowest … highest) | seeds |"
        " what the plain loop has after 30 trials, after (a seed each) |",
        "|---|--:|--:|--:|",
    ]
    for arm in ("engine", *PARTS):
        spread = _spread(records, name, arm)
        if spread is None:
            continue
        cells = []
        for seed in SEEDS:
            loop, record = records.get(Run(name, "loop-tpe", seed)), records.get(Run(name, arm, seed))
            if loop and record:
                moments = record.find_goal_moments(loop.curve[-1][1])
                cells.append(f"{moments[0]:.0f} s" if moments else f"not in {record.curve[-1][0]:.0f} s")
        lines.append(f"| {'none' if arm == 'engine' else arm} | {' | '.join(spread)} | {', '.join(cells)} |")
    return lines


def _spread(records: Mapping[Run, Record], name: str, arm: str) -> tuple[str, str] | None:
    """Render the hypervolume at the end of a set's time over the seeds, and the number of seeds; null without a record."""
    seconds = 60 * SETS[name].minutes
    values = [record.hypervolume_at(seconds) for record in records.values() if (record.set, record.arm) == (name, arm)]
    if not values:
        return None
    return f"{statistics.median(values):.1f} ({min(values):.1f} … {max(values):.1f})", str(len(values))


def draw_curves(records: Mapping[Run, Record]) -> None:
    """Draw hypervolume over time into docs/search_efficiency.svg, one panel per data set."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "autocompress"
    from matplotlib import pyplot

    colours = {"engine": "#0072B2", "loop-tpe": "#D55E00", "loop-nsga2": "#009E73", "loop-random": "#666666"}
    styles = {"engine": "-", "loop-tpe": "--", "loop-nsga2": ":", "loop-random": "-."}
    names = [name for name in SETS if any(run.data_set == name for run in records)]
    figure, panels = pyplot.subplots(1, len(names), figsize=(9, 4), layout="constrained", squeeze=False)
    for panel, name in zip(panels[0], names, strict=True):
        labelled = set()
        for run, record in records.items():
            if run.data_set != name or run.arm not in colours:
                continue
            moments = [moment / 60 for moment, _ in record.curve]
            panel.step(moments, [value for _, value in record.curve], where="post", color=colours[run.arm],
                       linestyle=styles[run.arm], label=None if run.arm in labelled else run.arm)  # fmt: skip
            labelled.add(run.arm)
        panel.set_title(name)
        panel.set_xlabel("minutes since the teacher was measured")
        panel.set_ylabel("hypervolume on test, points × octaves²")
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, loc="lower right")
    figure.savefig(ROOT / "docs" / "search_efficiency.svg", metadata={"Date": None})
