"""The tables that the benchmarks write agree with their records."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocompress.interfaces.presenters import choose
from benchmarks import readme
from benchmarks.search_efficiency_records import Record
from benchmarks.search_efficiency_report import BEGIN, END, ROOT, render_report
from tests.test_stored_studies import view_of


def test_find_goal_moments_returns_first_and_lasting_moment() -> None:
    record = Record("trec", "engine", 0, "a CPU", 4, 40, ((10.0, 5.0), (20.0, 8.0), (30.0, 7.0), (40.0, 9.0)))
    assert [record.hypervolume_at(seconds) for seconds in (5, 10, 35, 100)] == [0.0, 5.0, 7.0, 9.0]
    assert record.find_goal_moments(8.0) == (20.0, 40.0)
    assert record.find_goal_moments(5.0) == (10.0, 10.0)
    assert record.find_goal_moments(9.5) is None


def test_readme_matches_records() -> None:
    written = (ROOT / "README.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert written.strip() == render_report().strip()


def test_table_of_a_front_has_the_teacher_and_every_model_of_the_front(stored: Path) -> None:
    view = view_of(stored, "one_device")
    lines = readme.render_table(view).splitlines()
    numbers = [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:]
    assert sorted(map(int, numbers)) == [0, *sorted(row.trial for row in view.rows if row.on_front)]
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert len(widths) == 1


def test_table_of_tasks_shows_what_pick_names(stored: Path) -> None:
    view = view_of(stored, "one_device")
    picked = choose(view, {"max_drop": 0.01}, "latency_ms").row
    (line,) = readme.render_tasks([view]).splitlines()[2:]
    assert "text-classification" in line and "one_device" in line
    assert f"| {picked.speedup:.1f}× (" in line and f"| {picked.compression:.1f}× |" in line
    assert f"| {100 * (view.rows[0].test_quality or 0):.1f} |" in line


def test_rows_of_studies_on_other_machines_stay(stored: Path) -> None:
    view = view_of(stored, "one_device")
    alone = readme.render_tasks([view])
    head, row = alone.splitlines()[:2], alone.splitlines()[2]
    written = "\n".join(
        [*head, "| [a_study](studies/a_study.yaml) | x |", row.replace("one_device", "two"), f"{row} old"]
    )
    assert readme.render_tasks([view], written).splitlines() == [
        *head,
        *written.splitlines()[2:3],
        row,
        *written.splitlines()[3:4],
    ]


def test_write_block_changes_its_block_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    text = "".join(f"{n}\n<!-- {n}: {readme.WRITTEN_BY}\nold\n<!-- {n}: end -->\n" for n in ("front", "tasks"))
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    readme.write_block("tasks", "| new |")
    before, after = text.rsplit("old", 1)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == f"{before}| new |{after}"
