"""Texts that decisions about augmentation add: what each changes, what is left out, and who learns from them."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from autocompress.config import read_plan
from autocompress.core.recipe import Recipe
from autocompress.core.technique import ordered_techniques
from autocompress.data.near_duplicates import SHARED, near_duplicates
from autocompress.search.augmentation import Augmentation
from autocompress.search.edited_data import EditedData
from autocompress.search.stage_timer import StageTimer
from autocompress.search.trial_pipeline import TrialPipeline
from autocompress.storage.artifact_store import Store
from autocompress.study import read_study
from autocompress.techniques.stages import AugmentationTechnique, Vocabulary
from autocompress.training.distillation import StackedRows
from tests.conftest import run_cli
from tests.tiny import tiny_rows, tiny_study, write_rows

KINDS = {name: entry for name, entry in ordered_techniques().items() if isinstance(entry, AugmentationTechnique)}
TABLE = np.array([[0] * 3, [1] * 3, [2] * 3, *([10 + i % 4, 10 + (i + 1) % 4, 10 + (i + 2) % 4] for i in range(8))])
VOCABULARY = Vocabulary(np.arange(11) > 2, lambda: TABLE)  # three special tokens, eight words
ROWS = [np.array([0, *words, 1]) for words in ([3], [4, 5], [3, 4, 5, 6, 7, 8, 9, 10], [2, 2], list(range(3, 11)) * 9)]


def test_every_kind_is_searched() -> None:
    assert set(KINDS) == {"replaced_words", "swapped_words", "dropped_words", "inserted_words"}
    assert all(kind.describe(0) == "" and "2×" in kind.describe(2) for kind in KINDS.values())


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_is_a_text_whose_special_tokens_stay(name: str) -> None:
    draws, has_changed = np.random.default_rng(0), False
    for row in ROWS * 20:
        copy = KINDS[name].change(row, VOCABULARY, draws)
        places, ids = copy[:, 0], copy[:, 1]
        assert (ids[0], ids[-1]) == (0, 1) and places[0] == 0 and places[-1] == len(row) - 1
        assert (np.diff(places) >= 0).all() and np.isin(places, np.arange(len(row))).all()
        assert (ids == 2).sum() == (row == 2).sum()
        if (row > 2).any():
            assert (ids > 2).any()
        has_changed |= len(ids) != len(row) or bool((ids != row).any())
    assert has_changed


def test_each_kind_changes_what_it_says() -> None:
    row, draws = np.array([0, *range(3, 11), *range(3, 11), 1]), np.random.default_rng(1)
    for _ in range(50):
        replaced = KINDS["replaced_words"].change(row, VOCABULARY, draws)[:, 1]
        assert len(replaced) == len(row) and all(b in (a, *TABLE[a]) for a, b in zip(row, replaced, strict=True))
        swapped = KINDS["swapped_words"].change(row, VOCABULARY, draws)[:, 1]
        assert Counter(swapped.tolist()) == Counter(row.tolist()) and (swapped != row).sum() >= 2
        dropped = KINDS["dropped_words"].change(row, VOCABULARY, draws)
        assert 2 < len(dropped) < len(row) and (row[dropped[:, 0]] == dropped[:, 1]).all()
        inserted = KINDS["inserted_words"].change(row, VOCABULARY, draws)
        is_new = np.concatenate((np.diff(inserted[:, 0]) == 0, [False]))
        assert is_new.any() and (inserted[~is_new, 1] == row).all()
        assert np.isin(inserted[is_new, 1], TABLE[3:]).all()


def test_near_duplicates_are_those_that_comparing_all_pairs_gives() -> None:
    draws = np.random.default_rng(2)
    others = [np.array([0, *draws.integers(3, 9, draws.integers(1, 12)), 1]) for _ in range(40)]
    texts = [np.array([0, *draws.integers(3, 9, draws.integers(1, 12)), 1]) for _ in range(400)]
    texts += [row.copy() for row in others[:5]] + [np.insert(others[6], 1, 30), np.array([7])]

    def pairs(row: np.ndarray) -> set[tuple[int, ...]]:
        return {tuple(pair) for pair in pairwise(row)} if len(row) > 1 else {tuple(row)}

    expected = [
        any(len(pairs(row) & pairs(other)) >= SHARED * len(pairs(row) | pairs(other)) for other in others)
        for row in texts
    ]
    assert near_duplicates(texts, others).tolist() == expected
    assert sum(expected) > 5 and not all(expected)
    assert near_duplicates([], others).tolist() == [] and near_duplicates(texts[:2], []).tolist() == [False, False]


def test_stacked_rows_are_those_of_one_array() -> None:
    parts = [np.arange(size * 6, dtype=np.float16).reshape(size, 3, 2) + 100 * size for size in (4, 1, 5)]
    whole, stacked = np.concatenate(parts), StackedRows(parts)
    assert stacked.shape == whole.shape
    for rows in (slice(None, 6), slice(3, None, 2), np.array([9, 0, 4, 4, 5]), np.array([], int), np.array([-1, 2])):
        np.testing.assert_array_equal(stacked[rows], whole[rows])
    np.testing.assert_array_equal(np.asarray(stacked), whole)


def quiet(stage: str, fraction: float) -> None:
    """Report no progress."""


def open_study(folder: Path, *overrides: str, pairs: bool = False) -> TrialPipeline:
    plan = read_plan(tiny_study(folder, pairs=pairs), [*overrides, "recovery.copies=1", "teacher.fine_tune.epochs=1"])
    pipeline = TrialPipeline(plan, Store(folder / "store"))
    pipeline.context.teacher.load(StageTimer(quiet))
    return pipeline


def augmentation_of(pipeline: TrialPipeline) -> Augmentation:
    context = pipeline.context
    return Augmentation(context.data, context.teacher, context.store, 0)


@pytest.mark.parametrize("pairs", [False, True])
def test_copies_have_no_labels_and_fit_the_teacher(tmp_path: Path, pairs: bool) -> None:
    pipeline = open_study(tmp_path, "task.max_tokens=9", pairs=pairs)
    data, made = pipeline.context.data, augmentation_of(pipeline)
    for kind in KINDS.values():
        copies = made.copies(kind, 500)
        assert 300 < len(copies) <= 500 and max(copies.lengths) <= 9
        assert (copies.labels.values == data.task.missing_label).all()
        again = made.copies(kind, 500)
        assert [row.tobytes() for row in copies.input_ids] == [row.tobytes() for row in again.input_ids]
        assert (copies.token_type_ids is not None) == pairs
        if copies.token_type_ids is not None:
            assert [len(row) for row in copies.token_type_ids] == copies.lengths
            assert all(set(row.tolist()) == {0, 1} and (np.diff(row) >= 0).all() for row in copies.token_type_ids)


def test_words_are_near_by_the_teachers_word_table(tmp_path: Path) -> None:
    made = augmentation_of(open_study(tmp_path))
    table = made.teacher.model.bert.embeddings.word_embeddings.weight.detach().numpy()
    unit, nearest = table / (np.linalg.norm(table, axis=1, keepdims=True) + 1e-12), made.vocabulary.nearest()
    words = np.flatnonzero(made.vocabulary.is_word)
    assert set(words).isdisjoint(made.data.tokenizer.all_special_ids)
    names = made.data.tokenizer.convert_ids_to_tokens(list(range(len(table))))
    parts = {word for word in words if names[word].startswith("##")}
    used = set(np.concatenate(made.data.tokens["train"].input_ids)) & set(words)
    assert parts and len(used) > 20
    for word in used:
        others = parts if word in parts else set(words) - parts
        ranked = sorted(others - {word}, key=lambda other: -float(unit[word] @ unit[other]))
        assert set(nearest[word]) == set(ranked[: nearest.shape[1]])


def test_near_duplicates_of_judged_rows_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = open_study(tmp_path)
    rows = tiny_rows(60, 5)
    for split in ("train", "validation"):
        write_rows(tmp_path / "data" / f"{split}.csv", rows)  # every text of train stands in validation
    made = augmentation_of(TrialPipeline(pipeline.context.plan, Store(tmp_path / "other")))
    made.teacher.load(StageTimer(quiet))
    with caplog.at_level(logging.INFO):
        copies = made.copies(KINDS["dropped_words"], 200)
    judged = made.data.tokens["validation"].input_ids
    assert len(copies) < 200 and not near_duplicates(copies.input_ids, judged).any()
    assert f"dropped_words: left out {200 - len(copies)} of 200 copies" in caplog.text


def test_a_candidate_learns_copies_with_the_teachers_outputs_on_them(tmp_path: Path) -> None:
    pipeline = open_study(tmp_path)
    context, timer = pipeline.context, StageTimer(quiet)
    plain, recipe = Recipe(depth=1), Recipe(depth=1, replaced_words=2, dropped_words=1)
    base, _ = context.learned_rows(plain, 2, timer)
    rows, targets = context.learned_rows(recipe, 2, timer)
    train = len(context.data.tokens["train"])
    assert len(base.lengths) == 2 * train < len(rows.lengths) <= 5 * train
    assert rows.lengths[: len(base.lengths)] == base.lengths
    chosen = np.array([0, len(base.lengths) + 3, len(rows.lengths) - 1])
    output = context.teacher.forward.run_batch(rows.batch(chosen))
    np.testing.assert_allclose(targets.outputs.take(chosen).values, output.logits.detach().numpy(), atol=1e-4)
    np.testing.assert_allclose(targets.hidden[chosen][:, 0, 0], output.hidden[1][:, 0].detach().numpy(), atol=2e-3)
    stages = context.stages
    assert stages.weights(recipe, 0).key == stages.weights(plain, 0).key
    assert stages.weights(recipe, 1).key != stages.weights(plain, 1).key
    edited = EditedData(context.plan, context.data, ())
    assert edited.recut(rows.tokens.take(chosen)).lengths == [rows.lengths[row] for row in chosen]
    before = set((tmp_path / "store").rglob("hidden.npy"))
    context.learned_rows(Recipe(depth=1, replaced_words=2), 1, timer)
    assert set((tmp_path / "store").rglob("hidden.npy")) == before  # one stage for each decision


def test_a_search_tries_them(tmp_path: Path) -> None:
    space = {"depth": [1], "weight_bits": [8], "replaced_words": [1], "inserted_words": [1]}
    file = tiny_study(tmp_path, space=space, budget={"trials": 2})
    run_cli("search", file, "--offline", cwd=tmp_path)
    plan = read_plan(file)
    rows = [row for row in read_study(plan.storage, plan.study).rows if row.trial]
    assert all(row.state == "complete" and row.recipe["replaced_words"] == 1 for row in rows)
    assert "1× replaced words · 1× inserted words" in rows[0].describe()
