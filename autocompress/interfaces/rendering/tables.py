"""Render results as tables: every number has its unit, every measured number its interval; the teacher comes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from autocompress.core.formatting import megabytes, ms, points, times, with_spread
from autocompress.core.trial_row import TrialRow
from autocompress.selection import FrontComparison

MARKS = {"stopped": "[yellow]–[/yellow]", "failed": "[red]×[/red]", "running": "…"}
KNEE = "[green]◆[/green]"
LEGEND = "● on the front   – stopped   × failed   … running"


@dataclass(frozen=True)
class Split:
    """The split that the qualities of a table were measured on."""

    name: str  # test | validation

    def numbers(self, row: TrialRow) -> tuple[float | None, float | None, tuple[float, float] | None]:
        """Return quality, drop and the drop's interval."""
        if self.name == "test":
            return row.test_quality, row.test_drop, row.test_drop_interval
        return row.quality, row.drop, row.drop_interval


def split_of(rows: Iterable[TrialRow]) -> Split:
    """Return test if every complete row was measured on it, else validation: a table never mixes the two."""
    complete = [row for row in rows if row.state == "complete"]
    tested = bool(complete) and all(row.test_quality is not None for row in complete)
    return Split("test" if tested else "validation")


def front_table(rows: Sequence[TrialRow], teacher: TrialRow | None, metric: str, knee: int | None = None) -> Table:
    """Return the table of the teacher and the front, from the slowest to the fastest; the trial `knee` is marked."""
    slowest_first = sorted(rows, key=lambda row: -(row.latency_ms or 0.0))
    shown = [*([teacher] if teacher else []), *slowest_first]
    split = split_of(shown)
    table = _empty_table(metric, split, drop="drop, points\n(95 %)", speedup="speed-up\n(95 %)")
    for row in shown:
        quality, drop, interval = split.numbers(row)
        cells = _cells(
            row, quality, with_spread(drop, interval, 100), with_spread(row.speedup, row.speedup_interval, 1, "×")
        )
        if row.trial == knee:
            cells[1] = KNEE
        if row.ties:
            cells[2] += f"\n[dim]tied with {', '.join(map(str, row.ties))}[/dim]"
        table.add_row(*cells)
    return table


def front_comparison_table(comparison: FrontComparison) -> Table:
    """Return the table of what `pick` chooses in each study."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("best at")
    for name in ("study", "trial", "model", "drop", "speed-up", "times\nsmaller"):
        table.add_column(name, justify="left" if name in ("study", "model") else "right")
    objectives = {"latency_ms": "latency", "size_mb": "size", None: "all (knee)"}
    for choice in comparison.choices:
        for name, row in ((comparison.a.study, choice.a), (comparison.b.study, choice.b)):
            cells = ("–", "no model fits", "", "", "") if row is None else (
                str(row.trial), escape(row.describe()), with_spread(row.drop, row.drop_interval, 100),
                with_spread(row.speedup, row.speedup_interval, 1, "×"), times(row.compression),
            )  # fmt: skip
            table.add_row(objectives[choice.prefer], escape(name), *cells)
    return table


def trials_table(rows: Sequence[TrialRow], metric: str) -> Table:
    """Return the table of every trial with its state, and the reason if it was stopped, failed or not fully trained."""
    table = _empty_table(metric, Split("validation"), drop="drop,\npoints", speedup="speed-up\n")
    for row in rows:
        cells = _cells(row, row.quality, "" if row.drop is None else points(row.drop), times(row.speedup))
        if row.state != "complete":
            reason = f": {row.reason}" if row.reason else ""
            cells[2] += f"\n[dim]{row.state}{escape(reason)}[/dim]"
        elif row.reason:
            cells[2] += f"\n[dim]{escape(row.reason)}[/dim]"
        table.add_row(*cells)
    return table


def _empty_table(metric: str, split: Split, drop: str, speedup: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("model", min_width=20, ratio=1)
    table.add_column(f"{metric.replace('_', ' ')}\n{split.name}", justify="right", max_width=12)
    for title in (drop, "latency\nms", speedup, "size\nMB", "times\nsmaller"):
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _cells(row: TrialRow, quality: float | None, drop: str, speedup: str) -> list[str]:
    description = escape(row.describe())
    is_teacher = row.trial == 0
    return [
        str(row.trial),
        "[green]●[/green]" if row.on_front else MARKS.get(row.state, ""),
        f"[bold]{description}[/bold]" if row.on_front else description,
        "" if quality is None else points(quality),
        "" if is_teacher else drop,
        "" if row.latency_ms is None else ms(row.latency_ms),
        times(1.0) if is_teacher and row.speedup else speedup,
        "" if row.size_mb is None else megabytes(row.size_mb),
        times(row.compression),
    ]
