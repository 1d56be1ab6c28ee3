"""Draw a front in characters: quality over latency, with a mark for each model's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from autocompress.core.formatting import megabytes, ms, points
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.rendering.tables import split_of

HEIGHT, MARGIN = 14, 8  # lines of the plot; columns for the numbers beside it
MOST_COLUMNS, FEWEST_COLUMNS = 100, 40  # of the picture; of the plot
NUMBER_COLUMNS = 9  # kept free at the right for a mark's trial number
MARKS = "·•●"  # a third each of the range of sizes, in octaves
TEACHER, KNEE = "T", "◆"


@dataclass(frozen=True)
class FrontPicture:
    """The picture of some rows and the teacher; at most 100 columns wide.

    Nothing is drawn if there are fewer than 50 columns or fewer than two models. Latency (ms) grows to the right on a
    logarithmic scale, quality (points) upwards. A trial's number is written beside its mark if there is room: marks and
    numbers never overlap.
    """

    rows: Sequence[TrialRow]
    teacher: TrialRow
    knee: int | None = None  # the trial that is marked as the knee

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        picture = draw_front(self.rows, self.teacher, min(options.max_width, MOST_COLUMNS), self.knee)
        if picture is not None:
            yield Text(picture, no_wrap=True)


def draw_front(rows: Sequence[TrialRow], teacher: TrialRow, width: int, knee: int | None = None) -> str | None:
    """Return the text of the picture, or null if there is nothing to draw; see `FrontPicture`."""
    split = split_of([teacher, *rows])
    drawn = [row for row in (teacher, *rows) if row.latency_ms and split.numbers(row)[0] is not None]
    columns = width - MARGIN - 2
    if len(drawn) < 2 or columns < FEWEST_COLUMNS:
        return None
    latencies = [log10(row.latency_ms or 1.0) for row in drawn]
    qualities = [100 * (split.numbers(row)[0] or 0.0) for row in drawn]
    x_axis, y_axis = _Axis.spanning(latencies, columns - NUMBER_COLUMNS), _Axis.spanning(qualities, HEIGHT - 1)
    cells = {
        row.trial: (HEIGHT - 1 - y_axis.cell(quality), x_axis.cell(latency))
        for row, quality, latency in zip(drawn, qualities, latencies, strict=True)
    }
    plot = _draw_marks(drawn, cells, columns, knee)
    labels = {
        0: points(y_axis.high / 100),
        HEIGHT // 2: points(y_axis.value(HEIGHT - 1 - HEIGHT // 2) / 100),
        HEIGHT - 1: points(y_axis.low / 100),
    }
    return "\n".join(
        [
            f"{'points':>{MARGIN}}",
            *(f"{labels.get(number, ''):>{MARGIN}} │{line}" for number, line in enumerate(plot)),
            f"{'':{MARGIN}} └{'─' * columns}",
            f"{'':{MARGIN}}  {_latency_labels(x_axis, columns)} ms",
            f"{'':{MARGIN}}  {_legend(drawn, knee)}",
            "",
        ]
    )


class _Axis:
    """Maps values to the cells 0 … cells."""

    def __init__(self, low: float, high: float, cells: int) -> None:
        self.low, self.high, self.cells = low, high, cells

    @classmethod
    def spanning(cls, values: Sequence[float], cells: int) -> _Axis:
        low, high = min(values), max(values)
        return cls(low, high if high > low else low + 1e-9, cells)

    def cell(self, value: float) -> int:
        return round(self.cells * (value - self.low) / (self.high - self.low))

    def value(self, cell: int) -> float:
        return self.low + (self.high - self.low) * cell / self.cells


def _draw_marks(
    drawn: Sequence[TrialRow], cells: Mapping[int, tuple[int, int]], columns: int, knee: int | None
) -> list[str]:
    """Return the lines of the plot: a mark for each row, then the numbers that fit beside them."""
    canvas = [[" "] * columns for _ in range(HEIGHT)]
    size_marks = _size_marks(drawn)
    for row in reversed(drawn):  # the teacher and the first rows overwrite later ones
        line, column = cells[row.trial]
        canvas[line][column] = TEACHER if row.trial == 0 else KNEE if row.trial == knee else size_marks[row.trial]
    for row in drawn[1:]:
        line, column = cells[row.trial]
        _write_if_free(canvas[line], column + 1, str(row.trial))
    return ["".join(line).rstrip() for line in canvas]


def _size_marks(drawn: Sequence[TrialRow]) -> dict[int, str]:
    """Map each trial to the mark of its size: a third each of the range of sizes, in octaves."""
    sizes = {row.trial: log10(row.size_mb or 1.0) for row in drawn}
    axis = _Axis.spanning(list(sizes.values()), len(MARKS))
    return {trial: MARKS[min(len(MARKS) - 1, floor(axis.cells * (size - axis.low) / (axis.high - axis.low)))]
            for trial, size in sizes.items()}  # fmt: skip


def _latency_labels(axis: _Axis, columns: int) -> str:
    """Return the line below the plot: the lowest, the middle and the highest latency."""
    line = [" "] * columns
    for value in (axis.low, (axis.low + axis.high) / 2, axis.high):
        _write_if_free(line, axis.cell(value), ms(10**value))
    return "".join(line).rstrip()


def _legend(drawn: Sequence[TrialRow], knee: int | None) -> str:
    marks = _size_marks(drawn)
    entries = [f"{TEACHER} the teacher", *([f"{KNEE} the knee"] if knee is not None else [])]
    for mark in MARKS:
        sizes = [row.size_mb or 0.0 for row in drawn if marks[row.trial] == mark]
        if sizes:
            ends = dict.fromkeys((megabytes(min(sizes)), megabytes(max(sizes))))  # one, where both are written alike
            entries.append(f"{mark} {' to '.join(ends)} MB")
    return ", ".join(entries)


def _write_if_free(line: list[str], column: int, text: str) -> None:
    """Write a text if its cells and the cell after it are free."""
    end = column + len(text)
    if end <= len(line) and all(cell == " " for cell in line[column : end + 1]):
        line[column:end] = list(text)
