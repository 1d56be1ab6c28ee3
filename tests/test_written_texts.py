"""Texts that an n-gram model of the rows writes: new, of the rows' own phrases, and never a row that models are judged on."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocompress.config import Recovery, StudyPlan, read_plan
from autocompress.core.recipe import Recipe
from autocompress.data.near_duplicates import near_duplicates
from autocompress.data.written_texts import LEAST, write_texts
from autocompress.search.stage_keys import TrainedStages, targets_stage
from autocompress.search.study_data import DistillationSet, StudyData
from tests.tiny import tiny_rows, tiny_study, write_rows

BEGIN, END = 101, 102
texts = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=9), min_size=1, max_size=30)


def rows_of(words: list[list[int]]) -> list[np.ndarray]:
    return [np.array([BEGIN, *row, END]) for row in words]


@given(texts, st.integers(0, 40), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_written_texts_are_new_and_made_of_neighbours(words: list[list[int]], count: int, seed: int) -> None:
    rows = rows_of(words)
    written = write_texts(rows, count, seed)
    known = {row.tobytes() for row in rows}
    pairs = {pair for row in rows for pair in zip(row[:-1].tolist(), row[1:].tolist(), strict=True)}
    longest = max(map(len, rows))
    assert len(written) <= count and len({text.tobytes() for text in written}) == len(written)
    for text in written:
        assert text.tobytes() not in known and LEAST <= len(text) <= longest
        assert text[0] == BEGIN and text[-1] == END and END not in text[:-1]
        unknown = [pair for pair in zip(text[:-1].tolist(), text[1:].tolist(), strict=True) if pair not in pairs]
        assert all(pair[1] == END for pair in unknown) and len(unknown) <= 1  # the end of a text that grew too long
    assert all(np.array_equal(a, b) for a, b in zip(written, write_texts(rows, count, seed), strict=True))


def test_what_follows_a_history_is_as_frequent_as_in_the_rows() -> None:
    rows = rows_of([[1, 2, 3, 5]] * 30 + [[1, 2, 3, 6]] * 10 + [[7, 2, 3, 8]] * 40 + [[9, 1, 2, 4]] * 5)
    written = write_texts(rows * 3, 4000, 0)
    begun = Counter(tuple(text[1:3].tolist()) for text in written)
    assert {first for first, _ in begun} == {1, 7, 9}
    assert not any(text.tolist()[1:5] == [1, 2, 3, 5] and len(text) == 6 for text in written)  # that is a row


def test_a_history_of_three_words_decides_where_it_has_two_continuations() -> None:
    rows = rows_of([[1, 2, 3, 4, 4], [1, 2, 3, 5, 5], [9, 2, 3, 6, 6], [9, 2, 3, 7, 7]])
    follows = Counter((int(text[1]), int(text[4])) for text in write_texts(rows, 200, 0) if len(text) > 5)
    assert all(last in (4, 5) for first, last in follows if first == 1)
    assert all(last in (6, 7) for first, last in follows if first == 9)


def test_rows_that_allow_nothing_new_give_nothing() -> None:
    assert write_texts(rows_of([[1, 2, 3]] * 5), 10, 0) == []


# ---- in a study ------------------------------------------------------------------------------------------------------


def plan_in(folder: Path, **changes: object) -> StudyPlan:
    return read_plan(tiny_study(folder, **changes))


def test_a_study_learns_from_written_texts_that_are_no_rows_of_judgement(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_in(tmp_path, recovery={"copy_kind": "written"})
    train = tiny_rows(240)
    for split in ("train", "validation"):  # so that many a written text is nearly one of validation
        write_rows(tmp_path / "data" / f"{split}.csv", train[: 120 if split == "validation" else 240])
    data = StudyData(plan, offline=True)
    recovery = plan.recovery.model_copy(update={"copies": 3})
    with caplog.at_level(logging.INFO):
        written = DistillationSet(data, recovery).tokens.input_ids[240:]
    assert "near duplicates" in caplog.text
    judged = [row for split in ("validation", "test") for row in data.tokens[split].input_ids]
    assert written and not near_duplicates(list(written), judged).any()
    edited = DistillationSet(data, recovery.model_copy(update={"copy_kind": "edited"})).tokens.input_ids[240:]
    assert len(edited) == 3 * 240 and {row.tobytes() for row in edited} != {row.tobytes() for row in written}


def test_pairs_are_edited(tmp_path: Path) -> None:
    data = StudyData(plan_in(tmp_path, pairs=True), offline=True)
    sets = [
        DistillationSet(data, Recovery(copies=1, copy_kind=kind)).tokens.input_ids for kind in ("written", "edited")
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*sets, strict=True))


def test_studies_with_edited_copies_keep_their_keys(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    edited, written = plan.recovery, plan.recovery.model_copy(update={"copy_kind": "written"})
    assert edited.copy_kind == "edited" and "copy_kind" not in targets_stage("teacher", edited, 0).inputs
    assert targets_stage("teacher", edited, 0).key != targets_stage("teacher", written, 0).key
    stages = [TrainedStages("teacher", recovery, plan.engine, 0, {}) for recovery in (edited, written)]
    assert stages[0].supernet.key != stages[1].supernet.key
    before, after = (each.weights(Recipe(depth=2), 2) for each in stages)
    assert before.key != after.key
    assert "copy_kind" not in before.settings["recovery"] and after.settings["recovery"]["copy_kind"] == "written"  # type: ignore[operator, index]
    stored = {**plan.identity(), "recovery": written.model_dump(mode="json")}
    assert plan.difference(stored) == ["recovery.copy_kind"]
