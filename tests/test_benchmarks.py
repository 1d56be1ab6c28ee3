"""What benchmarks say is what was recorded."""

from __future__ import annotations

from benchmarks.search_efficiency import BEGIN, END, ROOT, Record, report


def test_a_front_that_falls_back_has_reached_its_goal_twice() -> None:
    record = Record("trec", "engine", 0, "a CPU", 4, 40, ((10.0, 5.0), (20.0, 8.0), (30.0, 7.0), (40.0, 9.0)))
    assert [record.at(seconds) for seconds in (5, 10, 35, 100)] == [0.0, 5.0, 7.0, 9.0]
    assert record.reaches(8.0) == (20.0, 40.0)
    assert record.reaches(5.0) == (10.0, 10.0)
    assert record.reaches(9.5) is None


def test_the_readme_says_what_the_records_say() -> None:
    written = (ROOT / "README.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert written.strip() == report().strip()
