"""Show a running search: a live display on a terminal, plain lines elsewhere, at least one every five seconds.

The three displays implement the protocol `autocompress.search.display.Display`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autocompress.core.formatting import counted, duration, megabytes, ms, points, times
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome, TrialRow
from autocompress.interfaces.rendering.budget import BudgetProgress, WorkerActivity
from autocompress.interfaces.rendering.front_picture import FrontPicture
from autocompress.interfaces.rendering.tables import front_table

QUIET_SECONDS = 5.0  # plain lines: at least one in this time
SHOWN_ROWS = 8  # of the front, in the live display
TALL = 50  # lines of a terminal that has room for a drawn front above the table


class SilentDisplay:
    """Shows nothing: for `-q`."""

    def stage(self, worker: int, trial: int, words: str, stage: str, fraction: float) -> None:
        """Show how far a worker is in a stage of a trial; `words` describes its recipe."""

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, words: str) -> None:
        """Show the result of a trial that ended."""

    def abandoned(self, worker: int) -> None:
        """Stop showing a worker's trial, which was abandoned."""

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None:
        """Show how much of the budget is used."""

    def front(self, rows: Sequence[TrialRow], teacher: TrialRow | None) -> None:
        """Show the present front."""

    def message(self, text: str) -> None:
        """Show one line."""


@dataclass
class PlainDisplay(SilentDisplay):
    """Prints a line when a trial ends, and whenever nothing was printed for five seconds.

    With `verbose` also when a stage begins.
    """

    print_line: Callable[[str], None]
    verbose: bool = False
    clock: Callable[[], float] = time.monotonic
    budget: BudgetProgress = field(default_factory=BudgetProgress)
    activities: dict[int, WorkerActivity] = field(default_factory=dict)  # by worker
    printed_at: float = 0.0  # time of the last line
    stage_printed: bool = False  # whether the first stage was printed

    def __post_init__(self) -> None:
        self.printed_at = self.clock()

    def stage(self, worker: int, trial: int, words: str, stage: str, fraction: float) -> None:
        """Store the activity; print it if it is new and wanted, or if nothing was printed for long."""
        now, previous = self.clock(), self.activities.get(worker)
        is_new = previous is None or (previous.trial, previous.stage) != (trial, stage)
        since = now if is_new or previous is None else previous.since
        self.activities[worker] = WorkerActivity(trial, words, stage, fraction, since)
        if is_new and (self.verbose or not self.stage_printed):
            self.stage_printed = True
            self.message(self.activities[worker].describe(now))
        self._break_silence()

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, words: str) -> None:
        """Print one line: number, state, recipe, and the result or the reason why there is none."""
        self.activities = {worker: activity for worker, activity in self.activities.items() if activity.trial != trial}
        self.message(finished_line(trial, outcome, words))

    def abandoned(self, worker: int) -> None:
        """Remove the worker's activity."""
        self.activities.pop(worker, None)

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None:
        """Store the numbers; print a line if nothing was printed for long."""
        begun = any(activity.trial > 0 for activity in self.activities.values())
        self.budget.update(trials, of_trials, seconds, of_seconds, begun)
        self._break_silence()

    def front(self, rows: Sequence[TrialRow], teacher: TrialRow | None) -> None:
        """Print the number of models on the front, the best speed-up and the smallest size."""
        if rows:
            fastest = max((row.speedup or 0.0) for row in rows)
            smallest = min((row.size_mb or float("inf")) for row in rows)
            self.message(
                f"front: {counted(len(rows), 'model')}, up to {times(fastest)} as fast, down to "
                f"{megabytes(smallest)} MB · {self.budget.describe()}"
            )

    def message(self, text: str) -> None:
        """Print one line."""
        self.print_line(text)
        self.printed_at = self.clock()

    def _break_silence(self) -> None:
        """Print what the workers do if nothing was printed for five seconds."""
        now = self.clock()
        if now - self.printed_at >= QUIET_SECONDS:
            lines = [activity.describe(now) for activity in self.activities.values()] or ["waiting for a worker"]
            for line in lines:
                self.message(f"{line} · {self.budget.describe()}")


class LiveDisplay(SilentDisplay):
    """Shows front, activities and budget at the bottom of the terminal; other lines scroll above them."""

    def __init__(self, console: Console, metric: str, verbose: bool = False) -> None:
        self._console, self._metric = console, metric
        self._plain = PlainDisplay(self._print, verbose)
        self._front: tuple[TrialRow, ...] = ()
        self._teacher: TrialRow | None = None
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def stage(self, worker: int, trial: int, words: str, stage: str, fraction: float) -> None:
        """Update the line of the worker."""
        self._plain.printed_at = self._plain.clock()  # the live display moves: no extra lines are needed
        self._plain.stage(worker, trial, words, stage, fraction)

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, words: str) -> None:
        """Print one line above the live display."""
        self._plain.finished(trial, recipe, outcome, words)

    def abandoned(self, worker: int) -> None:
        """Remove the line of the worker."""
        self._plain.abandoned(worker)

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None:
        """Update the line of the budget."""
        self._plain.printed_at = self._plain.clock()
        self._plain.progress(trials, of_trials, seconds, of_seconds)

    def front(self, rows: Sequence[TrialRow], teacher: TrialRow | None) -> None:
        """Update the front."""
        self._front, self._teacher = tuple(rows), teacher

    def message(self, text: str) -> None:
        """Print one line above the live display."""
        self._plain.message(text)

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._front:
            if self._teacher is not None and self._console.height >= TALL:
                parts.append(FrontPicture(self._front, self._teacher))
            fastest = sorted(self._front, key=lambda row: row.latency_ms or 0.0)[:SHOWN_ROWS]
            parts.append(front_table(fastest, self._teacher, self._metric))
            hidden = len(self._front) - len(fastest)
            parts += [Text(f"  and {hidden} slower", style="dim")] if hidden else []
        now = self._plain.clock()
        parts += [_activity_line(activity, now) for activity in list(self._plain.activities.values())]
        parts.append(Text(self._plain.budget.describe() + " · Ctrl-C ends cleanly", style="dim"))
        return Group(*parts)


@contextmanager
def display_for(console: Console, metric: str, quiet: bool, verbose: bool) -> Iterator[SilentDisplay]:
    """Open the display of a search: none for `-q`, a live one on a terminal, plain lines elsewhere."""
    if quiet:
        yield SilentDisplay()
    elif console.is_terminal and not console.is_dumb_terminal:
        with LiveDisplay(console, metric, verbose) as live:
            yield live
    else:
        yield PlainDisplay(lambda text: _print_flushed(console, text), verbose)


def finished_line(trial: int, outcome: Outcome, description: str) -> str:
    """Return for example `trial 7 complete in 41 s · 3 layers · 8-bit · drop 0.6 points · 10.1× as fast · 13.7 MB`."""
    parts = [f"trial {trial} {outcome.state} in {duration(outcome.seconds)}", description]
    if outcome.reason:
        return " · ".join([*parts, outcome.reason])
    measurement, is_teacher = outcome.measurement, trial == 0
    if measurement is not None and measurement.quality is not None:
        quality = measurement.quality
        parts.append(points(quality.quality) if is_teacher else f"drop {points(quality.drop)} points")
    if measurement is not None:
        latency = measurement.latency
        parts.append(f"{ms(latency.p50_ms)} ms" if is_teacher else f"{times(latency.speedup)} as fast")
        parts.append(f"{megabytes(measurement.size_mb)} MB")
    return " · ".join(parts)


def _print_flushed(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
    console.file.flush()


def _activity_line(activity: WorkerActivity, now: float) -> Table:
    """Return trial, stage, bar and seconds; the recipe takes the remaining width."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=24)
    grid.add_column(width=20)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    grid.add_row(
        f"trial {activity.trial}",
        escape(activity.stage),
        ProgressBar(total=1.0, completed=activity.fraction, pulse=activity.fraction <= 0),
        f"{now - activity.since:.0f} s",
        f"[dim]{escape(activity.description)}[/dim]",
    )
    return grid
