"""Write the README's tables of studies from their databases, and the picture of a front.

`python benchmarks/readme.py front STUDY.yaml` writes the table and the picture of a front, `… tasks STUDY.yaml …` what `pick`
names in studies of several tasks. Nobody types a number of the README by hand. Needs the extra `benchmarks` (matplotlib).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from autocompress.config import storage_of
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.presenters import choose
from autocompress.study import StudyView, read_study

ROOT = Path(__file__).parent.parent
WRITTEN_BY = "begin (written by benchmarks/readme.py) -->"
CHOICES = ((0.01, "latency_ms"), (0.01, "size_mb"))
MAX_VECTOR_MARKS = 100
FRONT_COLOUR, TEACHER_COLOUR, OTHER_COLOUR = (
    "#0072B2",
    "#D55E00",
    "#BBBBBB",
)  # Okabe and Ito: readable for colour-blind people


def main() -> None:
    """Rewrite a table of README.md, and with that of a front docs/front.svg."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("front", "tasks"))
    parser.add_argument("studies", nargs="+", metavar="STUDY.yaml")
    arguments = parser.parse_args()
    stored = [storage_of(study) for study in arguments.studies]
    views = [read_study(storage.url, storage.study) for storage in stored]
    if arguments.what == "front":
        (view,) = views
        draw_front(view, ROOT / "docs" / "front.svg")
        write_block("front", render_table(view))
    else:
        write_block("tasks", render_tasks(views, read_block("tasks")))


def read_block(name: str) -> str:
    """Return the text between the comments of that name."""
    return _split_readme(name)[1]


def write_block(name: str, table: str) -> None:
    """Replace the text between the comments of that name."""
    before, _, after = _split_readme(name)
    (ROOT / "README.md").write_text(f"{before}{table}{after}", encoding="utf-8")


def _split_readme(name: str) -> tuple[str, str, str]:
    """Return what stands before, between and after the comments of that name; the comments belong to the outer parts."""
    begin, end = f"<!-- {name}: {WRITTEN_BY}\n", f"\n<!-- {name}: end -->"
    before, rest = (ROOT / "README.md").read_text(encoding="utf-8").split(begin)
    table, after = rest.split(end)
    return before + begin, table, end + after


def render_tasks(views: Sequence[StudyView], written: str = "") -> str:
    """Render the fastest model that `pick` names in each study for one point of drop, by name.

    Rows of other studies in the table `written` stay: a study's database need not be on this machine.
    """
    head = [
        "| study | task | metric | teacher, test | models | minutes | speed-up (95 %) | times smaller | drop, points (95 %) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines = {line.split("](")[0]: line for line in written.splitlines()[len(head) :]}
    for view in views:
        row, task = choose(view, {"max_drop": 0.01}, "latency_ms").row, view.plan["task"]
        lines[f"| [{view.name}"] = (
            f"| [{view.name}](studies/{view.name}.yaml) | {task['kind']} | {task['metric']} "
            f"| {_points(view.rows[0].test_quality)} | {_count_models(view)} | {view.seconds / 60:.0f} "
            f"| {row.speedup:.1f}× ({_span(row.speedup_interval, 1, 1)}) | {row.compression:.1f}× "
            f"| {_points(row.test_drop)} ({_span(row.test_drop_interval, 100, 1)}) |"
        )
    return "\n".join([*head, *(lines[study] for study in sorted(lines))])


def render_table(view: StudyView) -> str:
    """Render the teacher and the front, fastest last, as Markdown."""
    rows = [view.rows[0], *sorted((row for row in view.rows if row.on_front), key=lambda row: row.speedup or 0)]
    lines = [
        f"Study `{view.name}`: {_count_models(view)} models measured in {view.seconds / 60:.0f} minutes, teacher included.",
        "",
        "| trial | model | test accuracy | drop, points (95 %) | latency, ms | speed-up (95 %) | size, MB | times smaller |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_line(row) for row in rows), "", *(_choice(view, *choice) for choice in CHOICES)])


def _count_models(view: StudyView) -> int:
    """Return how many models were measured: duplicates are not measured again."""
    return len({row.sha256 for row in view.rows if row.trial and row.state == "complete"})


def _choice(view: StudyView, max_drop: float, prefer: str) -> str:
    """Render the trial that `pick` names, with its drop on validation and on test."""
    row = choose(view, {"max_drop": max_drop}, prefer).row
    return (
        f"- `pick --max-drop {max_drop:g} --prefer {prefer}` names trial {row.trial}: {row.speedup:.1f}× as fast and"
        f" {row.compression:.1f}× smaller; {_points(row.drop)} points lost on validation, {_points(row.test_drop)} on test."
    )


def _line(row: TrialRow) -> str:
    drop = "" if row.trial == 0 else f"{_points(row.test_drop)} ({_span(row.test_drop_interval, 100, 1)})"
    speedup = "1.0×" if row.trial == 0 else f"{row.speedup:.1f}× ({_span(row.speedup_interval, 1, 1)})"
    quality = f"{100 * row.test_quality:.1f}" if row.test_quality is not None else ""
    return (
        f"| {row.trial} | {row.describe()} | {quality} | {drop} | {row.latency_ms:.2f} | {speedup} | {row.size_mb:.1f} "
        f"| {row.compression:.1f}× |"
    )


def _points(drop: float | None) -> str:
    return "" if drop is None else f"{100 * drop:.1f}"


def _span(interval: tuple[float, float] | None, factor: float, digits: int) -> str:
    return "" if interval is None else f"{factor * interval[0]:.{digits}f} … {factor * interval[1]:.{digits}f}"


def draw_front(view: StudyView, path: Path) -> None:
    """Draw quality against latency; the area of a mark is the file size."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "autocompress"  # the same study gives the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    measured = [row for row in view.rows if row.quality is not None]
    front = [row for row in measured if row.on_front]
    off_front = [row for row in measured if not row.on_front and row.trial]
    for rows, colour, label in (
        (off_front, OTHER_COLOUR, "other trials"),
        (front, FRONT_COLOUR, "on the front"),
        ([view.rows[0]], TEACHER_COLOUR, "teacher, fp32"),
    ):
        _draw_marks(axes, rows, colour, label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("latency, ms (batch 1, one thread; log scale)")
    axes.set_ylabel("accuracy on validation, %")
    axes.grid(alpha=0.3, which="both")
    axes.set_title(
        f"{len({row.sha256 for row in measured if row.trial})} measured models of one teacher; area = file size"
    )
    legend = axes.legend(loc="lower right", frameon=False)
    for handle in legend.legend_handles:
        handle.set_sizes([60])  # type: ignore[union-attr]  # all are scatter marks
    figure.savefig(path, metadata={"Date": None})


def _draw_marks(axes: object, rows: Sequence[TrialRow], colour: str, label: str) -> None:
    axes.scatter(  # type: ignore[attr-defined]  # matplotlib's Axes
        [row.latency_ms for row in rows],
        [100 * (row.quality or 0) for row in rows],
        s=[6 * (row.size_mb or 0) for row in rows],
        color=colour,
        alpha=0.75,
        edgecolor="white",
        linewidth=0.8,
        label=label,
        rasterized=len(rows) > MAX_VECTOR_MARKS,  # hundreds of vector marks would make a heavy file
    )


if __name__ == "__main__":
    main()
