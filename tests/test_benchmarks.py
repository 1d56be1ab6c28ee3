"""The tables that the benchmarks write agree with their records."""

from __future__ import annotations

from benchmarks.search_efficiency_records import Record
from benchmarks.search_efficiency_report import BEGIN, END, ROOT, render_report


def test_find_goal_moments_returns_first_and_lasting_moment() -> None:
    record = Record("trec", "engine", 0, "a CPU", 4, 40, ((10.0, 5.0), (20.0, 8.0), (30.0, 7.0), (40.0, 9.0)))
    assert [record.hypervolume_at(seconds) for seconds in (5, 10, 35, 100)] == [0.0, 5.0, 7.0, 9.0]
    assert record.find_goal_moments(8.0) == (20.0, 40.0)
    assert record.find_goal_moments(5.0) == (10.0, 10.0)
    assert record.find_goal_moments(9.5) is None


def test_readme_matches_records() -> None:
    written = (ROOT / "README.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert written.strip() == render_report().strip()
