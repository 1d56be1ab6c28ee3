"""A front as a picture of characters: quality against latency, the size of a model as the size of its mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from autocompress.core.formatting import megabytes, ms, points
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.rendering.tables import split_of

HEIGHT, MARGIN = 14, 8  # lines of the plot; columns for the numbers beside it
MARKS = "·•●"  # thirds of what the models span in octaves of size
TEACHER, KNEE = "T", "◆"


@dataclass(frozen=True)
class FrontPicture:
    """The rows and the teacher, as wide as there is room, but 100 columns at most; nothing where it would be under 50, or there
    is nothing to see.

    Latency (ms) grows to the right on a logarithmic scale, quality (points) upwards. A trial's number stands beside its mark
    where there is room for it: marks and numbers never overlap.
    """

    rows: Sequence[TrialRow]
    teacher: TrialRow
    knee: int | None = None  # the trial that is marked as such

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        picture = front_picture(self.rows, self.teacher, min(options.max_width, 100), self.knee)
        if picture is not None:
            yield Text(picture, no_wrap=True)


def front_picture(rows: Sequence[TrialRow], teacher: TrialRow, width: int, knee: int | None = None) -> str | None:
    """See `FrontPicture`."""
    split = split_of([teacher, *rows])
    shown = [row for row in (teacher, *rows) if row.latency_ms and split.numbers(row)[0] is not None]
    across = width - MARGIN - 2
    if len(shown) < 2 or across < 40:
        return None
    latencies = [log10(row.latency_ms or 1.0) for row in shown]
    qualities = [100 * (split.numbers(row)[0] or 0.0) for row in shown]
    right, up = _Axis.over(latencies, across - 9), _Axis.over(qualities, HEIGHT - 1)
    canvas = [[" "] * across for _ in range(HEIGHT)]
    sizes = _marks(shown)
    places = {
        row.trial: (HEIGHT - 1 - up.place(q), right.place(x))
        for row, q, x in zip(shown, qualities, latencies, strict=True)
    }
    for row in reversed(shown):  # the teacher and what comes first stand on top
        line, column = places[row.trial]
        canvas[line][column] = TEACHER if row.trial == 0 else KNEE if row.trial == knee else sizes[row.trial]
    for row in shown[1:]:
        line, column = places[row.trial]
        _write(canvas[line], column + 1, str(row.trial))
    lines = ["".join(line).rstrip() for line in canvas]
    named = {
        0: points(up.high / 100),
        HEIGHT // 2: points(up.at(HEIGHT - 1 - HEIGHT // 2) / 100),
        HEIGHT - 1: points(up.low / 100),
    }
    body = [f"{named.get(number, ''):>{MARGIN}} │{line}" for number, line in enumerate(lines)]
    ends = [right.low, (right.low + right.high) / 2, right.high]
    foot = [" "] * across
    for end in ends:
        _write(foot, right.place(end), ms(10**end))
    marks = ", ".join(f"{mark} {words}" for mark, words in zip(MARKS, _spans(shown), strict=True) if words)
    legend = f"{TEACHER} the teacher, {f'{KNEE} the knee, ' if knee is not None else ''}{marks}"
    return "\n".join(
        [
            f"{'points':>{MARGIN}}",
            *body,
            f"{'':{MARGIN}} └{'─' * across}",
            f"{'':{MARGIN}}  {''.join(foot).rstrip()} ms",
            f"{'':{MARGIN}}  {legend}",
            "",
        ]
    )


class _Axis:
    """Values onto the cells 0 … cells."""

    def __init__(self, low: float, high: float, cells: int) -> None:
        self.low, self.high, self.cells = low, high, cells

    @classmethod
    def over(cls, values: Sequence[float], cells: int) -> _Axis:
        low, high = min(values), max(values)
        return cls(low, high if high > low else low + 1e-9, cells)

    def place(self, value: float) -> int:
        return round(self.cells * (value - self.low) / (self.high - self.low))

    def at(self, cell: int) -> float:
        return self.low + (self.high - self.low) * cell / self.cells


def _marks(shown: Sequence[TrialRow]) -> dict[int, str]:
    """The mark of each trial's size: thirds of what the models span, in octaves."""
    sizes = {row.trial: log10(row.size_mb or 1.0) for row in shown}
    axis = _Axis.over(list(sizes.values()), len(MARKS))
    return {trial: MARKS[min(len(MARKS) - 1, floor(axis.cells * (size - axis.low) / (axis.high - axis.low)))]
            for trial, size in sizes.items()}  # fmt: skip


def _spans(shown: Sequence[TrialRow]) -> list[str]:
    """What each mark stands for."""
    marks, found = _marks(shown), []
    for mark in MARKS:
        sizes = [row.size_mb or 0.0 for row in shown if marks[row.trial] == mark]
        one = len({megabytes(size) for size in sizes}) == 1
        found.append(
            ""
            if not sizes
            else f"{megabytes(min(sizes))} MB"
            if one
            else f"{megabytes(min(sizes))} to {megabytes(max(sizes))} MB"
        )
    return found


def _write(line: list[str], column: int, text: str) -> None:
    """Put a text there if all of its cells, and one on either side of what follows, are free."""
    cells = range(column, column + len(text))
    beyond = column + len(text)
    if (
        beyond <= len(line)
        and all(line[cell] == " " for cell in cells)
        and (beyond == len(line) or line[beyond] == " ")
    ):
        line[column:beyond] = list(text)
