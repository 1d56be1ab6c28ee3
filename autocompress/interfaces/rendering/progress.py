"""What a search shows while it runs: a live picture on a terminal, plain lines elsewhere, never silent for long.

All three displays have the methods that `autocompress.search.display.Display` asks for.
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

QUIET_SECONDS = 5.0  # plain lines: at least one in so many seconds
SHOWN_ROWS = 8  # of the front, in the live picture
TALL = 50  # lines of a terminal that has room for a drawn front above the table


class SilentDisplay:
    """Shows nothing: for `-q`."""

    def stage(self, worker: int, trial: int, words: str, stage: str, fraction: float) -> None:
        """A worker is so far in a stage of a trial."""

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, words: str) -> None:
        """A trial ended."""

    def abandoned(self, worker: int) -> None:
        """A worker's trial was abandoned."""

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None:
        """How much of the budget is used."""

    def front(self, rows: Sequence[TrialRow], teacher: TrialRow | None) -> None:
        """The front so far."""

    def message(self, text: str) -> None:
        """One line of news."""


@dataclass
class PlainDisplay(SilentDisplay):
    """Plain lines, each flushed: when a trial ends, and whenever nothing was said for five seconds.

    With `verbose`, also when a stage begins.
    """

    line: Callable[[str], None]
    verbose: bool = False
    clock: Callable[[], float] = time.monotonic
    budget: BudgetProgress = field(default_factory=BudgetProgress)
    work: dict[int, WorkerActivity] = field(default_factory=dict)  # by worker
    last: float = 0.0  # when something was said
    begun: bool = False  # whether anything was said of a stage

    def __post_init__(self) -> None:
        self.last = self.clock()

    def stage(self, worker: int, trial: int, words: str, stage: str, fraction: float) -> None:
        """Remember it; say it if it is new and someone wants to know, or if it was quiet for long."""
        now, before = self.clock(), self.work.get(worker)
        new = before is None or (before.trial, before.stage) != (trial, stage)
        since = now if new or before is None else before.since
        self.work[worker] = WorkerActivity(trial, words, stage, fraction, since)
        if new and (self.verbose or not self.begun):
            self.begun = True
            self.message(self.work[worker].describe(now))
        self._break_silence()

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, words: str) -> None:
        """One line: number, state, what it is, what came out, or why nothing did."""
        self.work = {worker: work for worker, work in self.work.items() if work.trial != trial}
        self.message(finished_line(trial, outcome, words))

    def abandoned(self, worker: int) -> None:
        """Show the worker's trial no more."""
        self.work.pop(worker, None)

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None:
        """Remember it; say something if it was quiet for long."""
        begun = any(work.trial > 0 for work in self.work.values())
        self.budget.update(trials, of_trials, seconds, of_seconds, begun)
        self._break_silence()

    def front(self, rows: Sequence[TrialRow], teacher: TrialRow | None) -> None:
        """How many are on it, and the best of each."""
        if rows:
            fastest = max((row.speedup or 0.0) for row in rows)
            smallest = min((row.size_mb or float("inf")) for row in rows)
            self.message(
                f"front: {counted(len(rows), 'model')}, up to {times(fastest)} as fast, down to "
                f"{megabytes(smallest)} MB · {self.budget.describe()}"
            )

    def message(self, text: str) -> None:
        """One line, now."""
        self.line(text)
        self.last = self.clock()

    def _break_silence(self) -> None:
        now = self.clock()
        if now - self.last >= QUIET_SECONDS:
            doing = [work.describe(now) for work in self.work.values()] or ["waiting for a worker"]
            for text in doing:
                self.message(f"{text} · {self.budget.describe()}")


class LiveDisplay(SilentDisplay):
    """A picture at the bottom of the terminal, drawn anew as things change; lines of news scroll above it."""

    def __init__(self, console: Console, metric: str, verbose: bool = False) -> None:
        self._console, self._metric = console, metric
        self._text = PlainDisplay(self._print, verbose)
        self._front: tuple[TrialRow, ...] = ()
        self._teacher: TrialRow | None = None
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def stage(self, worker: int, trial: int, words: str, stage: str, fraction: float) -> None:
        """The worker's line in the picture."""
        self._text.last = self._text.clock()  # the picture moves by itself: there is no silence to break
        self._text.stage(worker, trial, words, stage, fraction)

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, words: str) -> None:
        """One line above the picture."""
        self._text.finished(trial, recipe, outcome, words)

    def abandoned(self, worker: int) -> None:
        """The worker's line goes out of the picture."""
        self._text.abandoned(worker)

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None:
        """The first line of the picture."""
        self._text.last = self._text.clock()
        self._text.progress(trials, of_trials, seconds, of_seconds)

    def front(self, rows: Sequence[TrialRow], teacher: TrialRow | None) -> None:
        """The table in the picture."""
        self._front, self._teacher = tuple(rows), teacher

    def message(self, text: str) -> None:
        """One line above the picture."""
        self._text.message(text)

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _picture(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._front:
            if self._teacher is not None and self._console.height >= TALL:
                parts.append(FrontPicture(self._front, self._teacher))
            fastest = sorted(self._front, key=lambda row: row.latency_ms or 0.0)[:SHOWN_ROWS]
            parts.append(front_table(fastest, self._teacher, self._metric))
            hidden = len(self._front) - len(fastest)
            parts += [Text(f"  and {hidden} slower", style="dim")] if hidden else []
        parts += [_work_line(work, self._text.clock()) for work in list(self._text.work.values())]
        parts.append(Text(self._text.budget.describe() + " · Ctrl-C ends cleanly", style="dim"))
        return Group(*parts)


Display = SilentDisplay  # what all of them are


@contextmanager
def display_for(console: Console, metric: str, quiet: bool, verbose: bool) -> Iterator[Display]:
    """The display that fits: nothing for `-q`, a live picture on a terminal, plain lines elsewhere."""
    if quiet:
        yield SilentDisplay()
    elif console.is_terminal and not console.is_dumb_terminal:
        with LiveDisplay(console, metric, verbose) as live:
            yield live
    else:
        yield PlainDisplay(lambda text: _flushed(console, text), verbose)


def finished_line(trial: int, outcome: Outcome, words: str) -> str:
    """`trial 7 complete in 41 s · 3 layers · 8-bit · drop 0.6 points · 10.1× as fast · 13.7 MB`."""
    start = f"trial {trial} {outcome.state} in {duration(outcome.seconds)} · {words}"
    if outcome.reason:
        return f"{start} · {outcome.reason}"
    parts, seen = [start], outcome.measurement
    if seen is not None and seen.quality is not None:
        quality = seen.quality
        teacher = trial == 0
        parts.append(points(quality.quality) if teacher else f"drop {points(quality.drop)} points")
    if seen is not None:
        parts.append(f"{ms(seen.latency.p50_ms)} ms" if trial == 0 else f"{times(seen.latency.speedup)} as fast")
        parts.append(f"{megabytes(seen.size_mb)} MB")
    return " · ".join(parts)


def _flushed(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
    console.file.flush()


def _work_line(work: WorkerActivity, now: float) -> Table:
    """Trial, stage, bar, seconds; the recipe takes what room is left."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=24)
    grid.add_column(width=20)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    grid.add_row(
        f"trial {work.trial}",
        escape(work.stage),
        ProgressBar(total=1.0, completed=work.fraction, pulse=work.fraction <= 0),
        f"{now - work.since:.0f} s",
        f"[dim]{escape(work.words)}[/dim]",
    )
    return grid
