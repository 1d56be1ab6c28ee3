"""The benchmark of teaching: what its tables compute, and one training of each kind on a tiny study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import choosing_searches, teaching
from benchmarks.peers_records import pack_labels
from benchmarks.teaching import CANDIDATES, METHODS, TODAY, WRITTEN, Row, School, append, gain, read_rows, report
from tests.tiny import tiny_study

TRUTH = np.arange(100) % 2


def row(method: str, wrong: int, candidate: str = "3 layers") -> Row:
    """Return a row of a model that errs on the first rows; the teacher errs on none."""
    predicted = TRUTH.copy()
    predicted[:wrong] = 1 - predicted[:wrong]
    labels = {"plain": pack_labels(TRUTH), "deployed": pack_labels(predicted)}
    return Row(
        set="trec", seed=1, candidate=candidate, method=method, seconds=60.0, label_seconds=3.0, steps=900, validation=0.9,
        teacher=pack_labels(TRUTH), truth=pack_labels(TRUTH), machine={}, **labels,
    )  # fmt: skip


def test_gains_are_paired_with_todays_training() -> None:
    lines = list(report([row(TODAY, 10), row("all four", 4), row(TODAY, 20, "2 layers")]))
    assert lines[0].startswith("trec, seed 1: 100 test rows, the teacher 100.0")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")][1:]
    assert cells[0][:7] == ["3 layers", TODAY, "90.0", "100.0", "", "90.0", ""]
    expected = f"+6.0 ± {1.96 * (0.06 * 0.94) ** 0.5 * 10:.1f}"
    assert cells[1][:7] == ["3 layers", "all four", "96.0", "100.0", expected, "96.0", expected]
    assert cells[2][:3] == ["2 layers", TODAY, "80.0"]


def test_equal_predictions_gain_nothing() -> None:
    right = row(TODAY, 10).agrees()
    assert gain(right, right) == "+0.0 ± 0.0"


def test_rows_are_read_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "RECORDS", tmp_path / "teaching.json")
    rows = [row(TODAY, 1), replace(row("all four", 2), steps=8)]
    for each in rows:
        append(each)
    assert read_rows() == rows


@pytest.mark.slow
def test_each_kind_of_method_trains_a_candidate_for_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "FOLDER", tmp_path)
    monkeypatch.setattr(choosing_searches, "write_study", lambda name, seed, folder: tiny_study(folder / "tiny"))
    changes = ("recovery.copies=1", "recovery.supernet_epochs=1", "recovery.short_epochs=0", "recovery.epochs=6")
    monkeypatch.setattr(teaching, "OVERRIDES", changes)
    school = School("tiny", 0)
    today, more = (school.train("2 layers", method) for method in (TODAY, "2 copies with swapped words"))
    assert today.seconds > 0 and today.label_seconds == 0 < more.label_seconds
    assert 0.3 < more.steps / today.steps < 3  # the same but for what a disturbed clock says
    written = school.train("2 layers", WRITTEN)
    assert len(school.pipeline.store.stages("supernet")) == 2  # one for each kind of copies
    assert written.label_seconds == 0  # the teacher labelled them for the super-net
    assert today.teacher == more.teacher and today.truth == more.truth
    assert today.is_right().mean() > 0.6 and more.is_right().mean() > 0.6
    assert set(METHODS) > {TODAY} and set(CANDIDATES) == {"3 layers", "2 layers"}
