"""Agreement rows: which texts are kept back, the comparison of a candidate with the teacher on them, and its record."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, delete

from autocompress.config import StudyPlan, read_plan
from autocompress.core.agreement import AGREEMENT, Agreement, part_bounds
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.rendering.progress import PlainDisplay
from autocompress.search.supervisor import run_search
from autocompress.search.worker_pool import WorkerPool
from autocompress.selection import next_comparisons
from autocompress.study import read_study
from autocompress.study.tables import MeasurementRow
from autocompress.tasks import TaskData
from autocompress.tasks._drawn_labels import confidence_drops
from autocompress.tasks.text_classification import TASK
from tests.csv_files import CSV, csv_text, three_splits, write
from tests.selection_rows import TEACHER, row
from tests.test_text_classification import plan_of
from tests.tiny import tiny_rows, tiny_study, write_rows
from tests.toy_study import ToyStudy

OTHERS = csv_text(100).replace("text ", "other ").replace("other,", "text,", 1)


def read(data: dict[str, Any], most: int | None = 4000, fine_tune: bool = True) -> TaskData:
    """Read splits with at most `most` agreement rows."""
    return TASK.read(plan_of({**data, "max_agreement_rows": most}, fine_tune=fine_tune))


def texts_of(data: TaskData) -> set[str]:
    """Return the agreement rows' texts, which stand in no other split."""
    assert data.agreement is not None
    others = [data.train, data.validation, data.test, data.unlabelled]
    kept = set(data.agreement.texts)
    assert not any(kept & set(rows.texts) for rows in others)
    assert len(kept) == len(data.agreement)
    return kept


# ---- the rows ------------------------------------------------------------------------------------------------------


def test_rows_that_the_limit_of_train_leaves_over_cost_nothing(tmp_path: Path) -> None:
    data = {"train": write(tmp_path / "a.csv", csv_text(3000)), "max_train_rows": 500}
    plain, kept = read(data, most=0), read(data)
    assert kept.train.texts == plain.train.texts and kept.validation.texts == plain.validation.texts
    assert len(texts_of(kept)) == 3000 - 500 - len(kept.validation) - len(kept.test)
    assert kept.has_agreement_labels
    assert kept.fingerprint != plain.fingerprint
    assert len(texts_of(read(data, most=300))) == 300


def test_rows_that_are_left_over_may_stand_among_the_unlabelled_texts_too(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", csv_text(3000))
    data = {"train": file, "max_train_rows": 500, "unlabelled": file}
    kept = read(data, most=600)
    assert kept.has_agreement_labels and len(texts_of(kept)) == 600
    assert len(kept.unlabelled) == len(read(data, most=0).unlabelled) - 600


def test_half_of_the_unlabelled_texts_come_next(tmp_path: Path) -> None:
    more = write(tmp_path / "more.csv", "text\n" + "".join(f"more {row}\n" for row in range(1000)))
    data = {**three_splits(tmp_path, csv_text(3000), OTHERS), "unlabelled": more}
    kept = read(data)
    assert all(text.startswith("more") for text in texts_of(kept))
    assert (len(kept.unlabelled), len(texts_of(kept)), kept.has_agreement_labels) == (500, 500, False)
    assert len(kept.train) == len(read(data, most=0).train)
    assert len(texts_of(read(data, fine_tune=False))) == 500  # a ready teacher has not learned from them either


def test_else_a_tenth_of_train_is_kept_back_and_its_price_is_told(tmp_path: Path) -> None:
    data = three_splits(tmp_path, csv_text(3000), OTHERS)
    plain, kept = read(data, most=0), read(data)
    assert plain.agreement is None and plain.notes == ()
    assert len(kept.train) + len(texts_of(kept)) == len(plain.train)
    assert 0.08 * len(plain.train) <= len(texts_of(kept)) <= 0.1 * len(plain.train)
    assert kept.has_agreement_labels and "of train are kept back from all training" in kept.notes[0]
    assert texts_of(read(data)) == texts_of(kept)  # seeded
    assert read(data, fine_tune=False).agreement is None  # the teacher may have learned from them


def test_few_rows_are_all_learned_from(tmp_path: Path) -> None:
    assert read(three_splits(tmp_path, csv_text(1500), CSV + "x,0\ny,1\n")).agreement is None


def test_parts_of_the_agreement_rows_are_splits(tmp_path: Path) -> None:
    data = read({"train": write(tmp_path / "a.csv", csv_text(3000)), "max_train_rows": 500})
    assert data.agreement is not None and data.agreement_parts == ("agreement-0", "agreement-1")
    joined = [text for part in data.agreement_parts for text in data.split(part).texts]
    assert joined == list(data.agreement.texts)
    assert part_bounds(4500) == [(0, 1000), (1000, 2000), (2000, 4000), (4000, 4500)]
    assert part_bounds(0) == []


def test_a_study_that_was_begun_without_agreement_rows_gets_none(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", csv_text(300))
    (tmp_path / "a.yaml").write_text(
        "teacher: {model: x}\ntask: {data: {train: t.csv}}\nspace: bits\n", encoding="utf-8"
    )
    plan: StudyPlan = read_plan(tmp_path / "a.yaml")
    old = plan.identity()
    del old["task"]["data"]["max_agreement_rows"]
    resumed = plan.as_stored(old)
    assert resumed.task.data.max_agreement_rows == 0 and not resumed.difference(old)
    begun = plan.with_agreement_rows(4000)
    assert plan.as_stored(begun.identity()) == begun
    assert not plan.as_stored(begun.identity()).difference(begun.identity())
    edited = read_plan(tmp_path / "a.yaml", ["task.data.max_agreement_rows=100"]).as_stored(begun.identity())
    assert edited.difference(begun.identity()) == ["task.data.max_agreement_rows"]


# ---- the comparison ------------------------------------------------------------------------------------------------


def test_confidence_drops_are_the_drops_where_the_teacher_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 2, (40_000, 4))
    labels = (truth + rng.gumbel(size=truth.shape)).argmax(-1)  # drawn from the probabilities of these logits
    teacher, candidate = 3 * truth, truth + rng.normal(0, 1, truth.shape)  # three times as sure as it should be
    drops = confidence_drops(candidate, teacher, teacher, labels)
    right, expected = candidate.argmax(-1) == labels, teacher.argmax(-1) == labels
    measured = expected.mean() - right.mean()
    assert measured > 0.03
    assert drops.mean() == pytest.approx(measured, abs=0.006)
    agree = candidate.argmax(-1) == teacher.argmax(-1)
    assert (drops[agree] == 0).all() and (drops[~agree] > 0).all()
    # the same expectation at less than a third of the standard error of counted rows
    assert drops.std() < 0.6 * (expected.astype(float) - right).std()


def agreement(rows: int = 1000, **values: Any) -> Agreement:
    """Return a comparison of a usual candidate."""
    usual = {"disagreement": 0.05, "confidence_drop": 0.025}
    return Agreement(rows=rows, **{**usual, **values})


def test_an_agreement_is_recorded_and_replaced(searched_toy: ToyStudy) -> None:
    study = searched_toy.open()
    first = next(row for row in searched_toy.view().rows if row.trial and row.state == "complete")
    for recorded in (agreement(), agreement(2000, drop=0.01, drop_deviation=0.003)):
        study.record_agreement(first.trial, recorded)
        rows = {row.trial: row for row in searched_toy.view().rows}
        assert rows[first.trial].agreement == recorded
        assert (rows[first.trial].drop, rows[first.trial].test_drop) == (first.drop, first.test_drop)
        assert rows[first.trial].as_json()["agreement"]["rows"] == recorded.rows  # type: ignore[index]


# ---- which models are compared -------------------------------------------------------------------------------------


def compared(rows: list[TrialRow], agreement_rows: int = 4000, max_drop: float | None = 0.01) -> dict[int, int]:
    """Return trial -> parts of the models to compare next."""
    return {row.trial: parts for row, parts in next_comparisons(rows, 872, agreement_rows, max_drop)}


def test_models_worth_choosing_are_compared_first_the_fastest_ones() -> None:
    rows = [
        TEACHER,
        row(1, 0.004, latency=4.0, disagreement=0.03),
        row(2, 0.012, latency=1.0, disagreement=0.05),
        row(3, 0.25, latency=0.5, disagreement=0.28),  # certainly worse than anyone wants
        row(4, 0.012, latency=1.0, disagreement=0.05, sha256="sha 2"),  # the same artifact
        row(5, 0.06, latency=8.0, disagreement=0.08),  # trial 1 is better, and as fast
    ]
    assert list(compared(rows).items()) == [(2, 2), (1, 1)]  # parts end after 1,000, 2,000 and 4,000 rows
    fast = row(6, 0.012, latency=0.4, disagreement=0.05)
    assert compared([*rows, fast])[6] == 3  # in three seconds
    assert compared(rows, agreement_rows=0) == {}


def test_undecided_models_get_more_rows_until_they_are_used_up() -> None:
    def rows(count: int, **values: Any) -> list[TrialRow]:
        sure = row(1, 0.0, disagreement=0.004, latency=4.0)
        sure_values = {"disagreement": 0.004, "confidence_drop": 0.001}
        return [
            TEACHER,
            TrialRow(**{**vars(sure), "agreement": agreement(count, **sure_values)}),
            row(2, 0.012, disagreement=0.05, agreement=agreement(count, **values)),
        ]

    assert compared(rows(1000)) == {2: 2}
    assert compared(rows(2000)) == {2: 3}
    assert compared(rows(4000)) == {}
    assert compared(rows(1000), max_drop=0.2) == {}  # decided


@pytest.mark.slow
def test_a_search_compares_its_models_and_goes_on_without_repeating_one(tmp_path: Path) -> None:
    file = tiny_study(tmp_path)
    write_rows(tmp_path / "data" / "train.csv", tiny_rows(700, 9))
    plan = read_plan(file, ["task.data.max_train_rows=240", "constraints.max_drop=0.05"])
    lines: list[str] = []
    run_search(plan, display=PlainDisplay(lines.append), offline=True)
    rows = [row for row in read_study(plan.storage, plan.study).rows if row.trial]
    found = {row.trial: row.agreement for row in rows if row.agreement is not None}
    assert found and {agreement.rows for agreement in found.values()} == {460}
    for agreement in found.values():
        assert 0 <= agreement.confidence_drop <= agreement.disagreement <= 1
        assert agreement.drop is not None and agreement.drop_deviation is not None
    assert any("460 agreement rows" in line for line in lines)
    reopened = read_plan(file, ["task.data.max_train_rows=240", "constraints.max_drop=0.05"])
    jobs: list[str] = []
    start = WorkerPool.start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerPool, "start", lambda pool, job, label: (jobs.append(job.kind), start(pool, job, label))[1])
        run_search(reopened, display=PlainDisplay(lines.append), offline=True)
    assert "agreement" not in jobs
    again = {row.trial: row.agreement for row in read_study(plan.storage, plan.study).rows if row.trial in found}
    assert again == found
    freed = next(row for row in rows if row.trial in found)
    shutil.rmtree(plan.artifacts.path / "models" / str(freed.sha256))
    with create_engine(plan.storage).begin() as connection:
        connection.execute(delete(MeasurementRow).where(MeasurementRow.split == AGREEMENT))
    run_search(reopened, display=PlainDisplay(lines.append), offline=True)
    assert any("not compared with the teacher: 1 model, whose files were freed" in line for line in lines)
    kept = {row.trial: row.agreement for row in read_study(plan.storage, plan.study).rows if row.agreement is not None}
    assert kept == {trial: agreement for trial, agreement in found.items() if trial != freed.trial}
