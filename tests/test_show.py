"""What people see: the tables, the numbers in them, and the display of a search."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from autocompress.core import formatting
from autocompress.core.measurement import Outcome, TrialRow
from autocompress.core.recipe import Recipe
from autocompress.interfaces import rendering
from autocompress.interfaces.rendering.budget import BudgetProgress
from autocompress.interfaces.rendering.progress import LiveDisplay, PlainDisplay, display_for
from autocompress.interfaces.rendering.tables import split_of
from tests.formula import complete, teacher_outcome

WORDIEST = Recipe(
    depth=12,
    attention="local",
    attention_window=128,
    head_sparsity=0.75,
    ffn_sparsity=0.9375,
    weight_bits=16,
    embedding_bits=8,
)


def result(trial: int, **changes: object) -> TrialRow:
    """A complete row on the front, measured on validation only."""
    row = TrialRow(
        trial=trial,
        state="complete",
        reason=None,
        recipe=Recipe(depth=3, weight_bits=8),
        quality=0.86,
        drop=0.01,
        drop_interval=(-0.006, 0.026),
        latency_ms=0.42,
        speedup=10.1,
        speedup_interval=(9.8, 10.4),
        size_mb=13.7,
        compression=6.6,
        memory_mb=60.0,
        on_front=True,
    )
    return replace(row, **changes)  # type: ignore[arg-type]  # a helper for short tests


TEACHER = result(0, recipe=Recipe(depth=6), quality=0.87, drop=0.0, speedup=1.0, size_mb=91.0, on_front=False)


def printed(table: object, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ---- tables --------------------------------------------------------------------------------------------------------


def test_the_teacher_stands_first_and_the_fastest_last() -> None:
    rows = [result(7, latency_ms=0.3), result(5, latency_ms=2.0)]
    lines = [line.split() for line in printed(rendering.front_table(rows, TEACHER, "accuracy")).splitlines()]
    numbers_of = [line[0] for line in lines if line and line[0].isdigit()]
    assert numbers_of == ["0", "5", "7"]


def test_a_row_shows_its_numbers_with_intervals() -> None:
    text = printed(rendering.front_table([result(3)], TEACHER, "accuracy"))
    for cell in ("3 layers · 8-bit", "86.0", "1.0 ±1.6", "0.420", "10.1× ±0.3", "13.7", "6.6×", "teacher, fp32"):
        assert cell in text
    for unit in ("points", "ms", "MB", "smaller", "(95 %)"):
        assert unit in text


def test_what_pick_names_is_marked_in_the_table() -> None:
    rows = [result(3, on_front=True), result(5, on_front=False, latency_ms=2.0)]
    lines = [line.split() for line in printed(rendering.front_table(rows, TEACHER, "accuracy", 5)).splitlines()]
    assert {line[0]: line[1] for line in lines if line and line[0] in ("3", "5")} == {"3": "●", "5": "◆"}


def test_one_table_never_mixes_test_and_validation() -> None:
    tested = result(3, test_quality=0.5, test_drop=0.2, test_drop_interval=(0.1, 0.3))
    both = printed(rendering.front_table([tested, result(4)], None, "accuracy"))
    assert "validation" in both
    assert "50.0" not in both
    only = printed(rendering.front_table([tested], None, "accuracy"))
    assert "test" in only
    assert "50.0" in only
    assert "86.0" not in only
    assert split_of([]).name == "validation"


@pytest.mark.parametrize("metric", ["accuracy", "matthews_correlation", "a_metric_of_their_own"])
def test_the_widest_row_fits_into_100_columns(metric: str) -> None:
    wide = result(
        1234,
        recipe=WORDIEST,
        quality=1.0,
        drop=-0.999,
        drop_interval=(-1.0, 1.0),
        latency_ms=12345.6,
        speedup=99.94,
        speedup_interval=(88.0, 112.0),
        size_mb=12345.6,
        compression=1234.5,
    )
    stopped = replace(wide, state="stopped", reason="latency 12.31 ms is over max_latency_ms 10; not trained " * 3)
    for table in (rendering.front_table([wide], TEACHER, metric), rendering.trials_table([wide, stopped], metric)):
        text = printed(table)
        assert max(map(len, text.splitlines())) <= 100
        assert "…" not in text  # nothing was cut off
        assert "1234" in text
        assert "1234×" in text.replace("1235×", "1234×")


def test_trials_say_why_they_ended() -> None:
    rows = [
        TEACHER,
        result(1, state="stopped", reason="size 70.0 MB is over [max_size_mb] 60; not trained", on_front=False),
        result(2, state="failed", reason="the worker was killed by SIGKILL (out of memory?)", on_front=False),
        result(3),
    ]
    text = " ".join(printed(rendering.trials_table(rows, "accuracy"), width=200).split())
    assert "stopped: size 70.0 MB is over [max_size_mb] 60; not trained" in text  # brackets are no markup
    assert "failed: the worker was killed by SIGKILL" in text
    assert "3 ●" in text
    assert "1 –" in text
    assert "2 ×" in text


# ---- numbers -------------------------------------------------------------------------------------------------------


@given(st.floats(-1, 1))
def test_points_are_tenths_and_never_a_negative_zero(fraction: float) -> None:
    text = formatting.points(fraction)
    assert float(text.replace("−", "-")) == pytest.approx(100 * fraction, abs=0.0501)
    assert text != "−0.0"
    assert "-" not in text


@given(st.floats(0.001, 1e5))
def test_three_figures_at_least(value: float) -> None:
    text = formatting.ms(value)
    assert float(text) == pytest.approx(value, rel=0.005, abs=0.0005)


def test_durations_read_like_speech() -> None:
    assert [formatting.duration(s) for s in (0.4, 41, 119, 125, 3540, 3900)] == [
        "0 s", "41 s", "119 s", "2 min", "59 min", "1 h 05 min",
    ]  # fmt: skip
    assert formatting.room(13_700_000) == "13.7 MB"
    assert formatting.room(1_234_000_000) == "1.23 GB"


# ---- the display of a search ---------------------------------------------------------------------------------------


class StageTimer:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_are_never_silent_for_long() -> None:
    clock, lines = StageTimer(), list[tuple[float, str]]()
    display = PlainDisplay(lambda text: lines.append((clock.now, text)), clock=clock)
    for _ in range(600):  # two minutes in which the worker says nothing
        display.progress(3, 40, clock.now, None)
        clock.now += 0.2
    said_at = [100.0, *(when for when, _ in lines), clock.now]
    assert max(after - before for before, after in pairwise(said_at)) <= 5.5
    display.stage(0, 4, "3 layers · 8-bit", "recovery", 0.0)
    clock.now += 6
    display.stage(0, 4, "3 layers · 8-bit", "recovery", 0.43)
    assert "trial 4: recovery 43% (6 s) · 3 layers · 8-bit" in lines[-1][1]
    assert "3 of 40 trials" in lines[-1][1]


def test_plain_lines_are_not_a_flood() -> None:
    clock, lines = StageTimer(), list[str]()
    display = PlainDisplay(lines.append, clock=clock)
    for step in range(1000):  # 100 seconds, 1000 words from the worker
        display.stage(0, 4, "3 layers", "recovery", step / 1000)
        clock.now += 0.1
    assert 19 <= len(lines) <= 22


def test_one_line_for_each_trial_that_ends() -> None:
    lines = list[str]()
    display = PlainDisplay(lines.append, clock=StageTimer())
    display.finished(0, Recipe(), teacher_outcome(), "teacher, fp32")
    outcome = complete(drop=0.006, speedup=10.13, size_mb=13.7, sha256="a", disagreement=0.05)
    display.finished(7, Recipe(), replace(outcome, seconds=41.3), "3 layers · 8-bit")
    display.finished(8, Recipe(), Outcome(state="stopped", reason="too large; not trained", seconds=2), "6 layers")
    assert lines[0].startswith("trial 0 complete in 2 s · teacher, fp32 · 90.0 · 4.00 ms · 91.0 MB")
    assert lines[1] == "trial 7 complete in 41 s · 3 layers · 8-bit · drop 0.6 points · 10.1× as fast · 13.7 MB"
    assert lines[2] == "trial 8 stopped in 2 s · 6 layers · too large; not trained"


def test_a_finished_trial_is_no_longer_being_done() -> None:
    clock, lines = StageTimer(), list[str]()
    display = PlainDisplay(lines.append, clock=clock)
    display.stage(0, 1, "a", "recovery", 0.1)
    display.stage(1, 2, "b", "pricing", 0.1)
    display.finished(1, Recipe(), Outcome(state="failed", reason="x"), "a")
    clock.now += 6
    display.progress(1, None, 6.0, None)
    assert lines[-1].startswith("trial 2: pricing")
    assert not lines[-2].startswith("trial 1: ")


def test_time_left_follows_what_ends_first() -> None:
    budget = BudgetProgress()
    budget.update(0, 10, 60.0, None, begun=False)  # the teacher took a minute
    assert budget.left() is None
    budget.update(0, 10, 60.0, None, begun=True)
    assert budget.left() is None
    budget.update(2, 10, 100.0, None, begun=True)  # 20 s a trial, the teacher's minute not counted
    assert budget.left() == pytest.approx(160)
    budget.update(2, 10, 100.0, 130.0, begun=True)
    assert budget.left() == pytest.approx(30)
    assert budget.describe() == "2 of 10 trials · 100 s of 2 min · about 30 s left"
    budget.update(12, 10, 200.0, None, begun=True)
    assert budget.left() == 0


def test_the_live_picture_shows_trial_stage_budget_and_front() -> None:
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=True, color_system=None)
    with LiveDisplay(console, "accuracy") as display:
        display.progress(1, 40, 62.0, 1800.0)
        display.stage(0, 2, "3 layers · 8-bit", "recovery", 0.4)
        display.front([result(n, latency_ms=0.1 * n) for n in range(1, 12)], TEACHER)
        display.message("a line of news")
        picture = printed(display._picture())
    for text in ("trial 2", "recovery", "3 layers", "1 of 40 trials · 62 s of 30 min", "teacher, fp32", "and 3 slower"):
        assert text in picture
    assert isinstance(console.file, io.StringIO)
    assert "a line of news" in console.file.getvalue()
    assert "T the teacher" not in picture  # there is no room for a drawing


def test_on_a_tall_terminal_the_front_is_drawn_as_it_grows() -> None:
    console = Console(file=io.StringIO(), width=100, height=60, force_terminal=True, color_system=None)
    with LiveDisplay(console, "accuracy") as display:
        display.front([result(1, latency_ms=0.4)], TEACHER)
        assert "T the teacher" in printed(display._picture())
        display.front([result(1, latency_ms=0.4), result(2, latency_ms=0.2)], TEACHER)
        assert re.search("[·•●]2", printed(display._picture()))


@pytest.mark.parametrize(
    ("quiet", "terminal", "kind"), [(True, True, "Silent"), (False, True, "Live"), (False, False, "Plain")]
)
def test_the_display_fits_the_place(quiet: bool, terminal: bool, kind: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, _environ={"TERM": "xterm"})
    with display_for(console, "accuracy", quiet, verbose=False) as display:
        assert type(display).__name__ == f"{kind}Display"
        display.message("news")
    assert isinstance(console.file, io.StringIO)
    assert ("news" in console.file.getvalue()) is not quiet


# ---- the front as a picture ------------------------------------------------------------------------------------------


points_of_a_front = st.lists(
    st.tuples(st.floats(0.05, 9.0), st.floats(0.5, 0.99), st.floats(1.0, 90.0)), min_size=1, max_size=30
).map(
    lambda found: [
        result(number, latency_ms=latency, quality=quality, size_mb=size)
        for number, (latency, quality, size) in enumerate(found, 1)
    ]
)


@given(points_of_a_front, st.integers(50, 130))
def test_marks_and_numbers_of_a_picture_never_overlap(rows: list[TrialRow], width: int) -> None:
    text = printed(rendering.FrontPicture(rows, TEACHER, 1), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    plot = [line.partition("│")[2] for line in lines if "│" in line]
    assert any("T" in line for line in plot)
    marks = sum(line.count(mark) for line in plot for mark in "T◆·•●")
    assert 1 <= marks <= len(rows) + 1
    for written in (word for line in plot for word in re.split(r"[T◆·•● ]+", line) if word):
        assert 1 <= int(written) <= len(rows)  # a number stands there in full, or not at all


def test_a_picture_shows_where_each_model_stands() -> None:
    rows = [
        result(1, latency_ms=0.1, quality=0.80, size_mb=2.0),
        result(2, latency_ms=1.0, quality=0.84, size_mb=14.0),
        result(3, latency_ms=5.0, quality=0.865, size_mb=80.0),
    ]
    lines = printed(rendering.FrontPicture(rows, replace(TEACHER, latency_ms=9.0), 2)).splitlines()
    plot = [line.partition("│")[2] for line in lines if "│" in line]
    assert "T" in plot[0] and plot[-1].startswith("·1")
    middle = next(line for line in plot if "◆2" in line)
    assert plot.index(middle) not in (0, len(plot) - 1)
    assert 0 < middle.index("◆2") < plot[0].index("T")
    assert any("●3" in line for line in plot)
    legend = lines[-2]
    assert "◆ the knee" in legend and "· 2.00 MB" in legend and "● 80.0 to 91.0 MB" in legend
    assert lines[-3].split()[-1] == "ms"


def test_there_is_no_picture_where_there_is_nothing_to_see() -> None:
    assert printed(rendering.FrontPicture([], TEACHER)) == ""
    assert printed(rendering.FrontPicture([result(1)], TEACHER), width=40) == ""
