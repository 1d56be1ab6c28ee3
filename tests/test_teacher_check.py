"""Whether a teacher is worth compressing: baselines, missing labels, learning curves, and candidates that beat it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress.config import read_plan
from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.core.teacher_warning import TeacherWarning, describe_remedy
from autocompress.data.ragged import Ragged
from autocompress.metrics import load_metric
from autocompress.search.baselines import (
    MOST_CELLS,
    has_spaces,
    learned_rows,
    predict_from_embeddings,
    predict_from_words,
    probed_rows,
)
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_check import TeacherCheck
from autocompress.selection import beating_trials
from autocompress.study import read_study
from tests.conftest import run_cli
from tests.selection_rows import row
from tests.tiny import tiny_study

DATA = Path(os.environ.get("AUTOCOMPRESS_DATA", "/nowhere"))


def record(*qualities: float) -> FineTuningRecord:
    curve = [{"rows": 100 * (index + 1), "quality": quality, "loss": 1.0} for index, quality in enumerate(qualities)]
    settings = {"epochs": 3.0, "learning_rate": 1e-4, "batch": 32}
    return FineTuningRecord(settings=settings, curve=tuple(curve), curve_rows=80, learned=720, seconds=36.0)


def check(
    folder: Path, right: float, known: FineTuningRecord | None = None, **teacher: Any
) -> tuple[TeacherWarning, ...]:
    """Check a teacher that predicts a fraction of the validation rows right; the others get label 0."""
    plan = read_plan(tiny_study(folder, **({"teacher": teacher} if teacher else {})))
    data = StudyData(plan, offline=True)
    data.tokens  # noqa: B018  # as in a trial: from now on the tokenizer cuts texts
    truth = data.splits.validation.labels.values
    predicted = np.where(np.arange(len(truth)) < right * len(truth), truth, 0)
    outputs = Ragged.one_each(np.eye(2, dtype=np.float32)[predicted])
    return TeacherCheck(plan, data, outputs, load_metric("accuracy"), known, offline=True).run()


def test_a_good_teacher_gets_no_warning(tmp_path: Path) -> None:
    assert check(tmp_path, 1.0, record(0.7, 0.9, 0.95, 0.955)) == ()


def test_a_teacher_below_a_baseline_gets_a_warning_with_remedy_and_price(tmp_path: Path) -> None:
    warnings = check(tmp_path, 0.3, record(0.5, 0.5))
    assert "logistic regression on words (TF-IDF) reaches" in warnings[0].finding
    assert any("linear probe" in warning.finding for warning in warnings)
    assert "--set study=tiny-2 --set teacher.fine_tune=auto" in warnings[0].remedy
    assert warnings[0].minutes == pytest.approx(240 * 20 * 4 * 0.05 / 0.85 / 60, rel=0.1)  # 0.05 s a row
    assert warnings[0].describe().endswith(f"(about {round(warnings[0].minutes)} min)")


def test_labels_that_are_never_predicted_are_named(tmp_path: Path) -> None:
    never = [warning.finding for warning in check(tmp_path, 0.0) if "never" in warning.finding]
    assert len(never) == 1 and "never predicts 1 label (1), which" in never[0]


@pytest.mark.parametrize(
    ("known", "improves"),
    [
        (record(0.5, 0.7, 0.8, 0.9), True),
        (record(0.5, 0.85, 0.895, 0.9), False),
        (record(0.5, 0.92, 0.8, 0.9), False),
        (record(0.9), False),
        (None, False),
    ],
)
def test_a_curve_that_rises_to_its_end_is_a_warning(
    tmp_path: Path, known: FineTuningRecord | None, improves: bool
) -> None:
    findings = [warning.finding for warning in check(tmp_path, 1.0, known)]
    assert any("still improving" in finding for finding in findings) == improves


def test_the_remedy_of_a_search_is_more_time() -> None:
    remedy, minutes = describe_remedy("mine", {"auto": True, "time": 300.0})
    assert "--set study=mine-2 --set 'teacher.fine_tune={auto: true, time: 10m}'" in remedy and minutes == 10
    assert describe_remedy("mine", {"auto": True, "time": None}) == ("check the labels, or take another model", None)


# ---- baselines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("the film is a delight", True),
        ("这部电影很好看，演员的表演也不错", False),
        ("映画はとても面白かったです。もう一度見たいと思います", False),
        ("Donaudampfschifffahrtsgesellschaft ist ein langes Wort", True),
        ("", True),
    ],
)
def test_has_spaces(text: str, spaced: bool) -> None:
    assert has_spaces([text, text]) == spaced


def test_a_probe_learns_what_is_linear() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(400, 8))
    labels = (states[:, 3] > 0).astype(np.int64)
    predicted = predict_from_embeddings(states[:300], labels[:300], states[300:])
    assert (predicted == labels[300:]).mean() > 0.9
    assert predict_from_embeddings(states[:3], np.ones(3, np.int64), states[3:5]).tolist() == [1, 1]


def test_many_rows_and_labels_are_sampled() -> None:
    labels = np.arange(30_000) % 100
    assert len(learned_rows(labels, 0)) == MOST_CELLS // 100
    assert set(labels[learned_rows(labels, 0)]) == set(range(100))
    assert len(learned_rows(labels[:500], 0)) == 500
    assert len(probed_rows([1000] * 500, np.arange(500), 0)) == 100


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "chnsenticorp").is_dir(), reason="needs the data set chnsenticorp in AUTOCOMPRESS_DATA")
def test_characters_are_the_better_features_of_a_script_without_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {split: str(DATA / "chnsenticorp" / f"{split}.parquet") for split in ("train", "validation", "test")}
    splits = StudyData(read_plan(tiny_study(tmp_path, task={"data": data})), offline=True).splits
    truth = splits.validation.labels.values
    by_characters, features = predict_from_words(splits.train, splits.validation)
    assert features == "characters"
    monkeypatch.setattr("autocompress.search.baselines.has_spaces", lambda texts: True)
    by_words, _ = predict_from_words(splits.train, splits.validation)
    assert (by_characters == truth).mean() > (by_words == truth).mean() + 0.05


# ---- candidates that beat the teacher ------------------------------------------------------------------------------


def test_only_significantly_better_candidates_beat_the_teacher() -> None:
    rows = [
        row(0, drop=0.0, drop_interval=(0.0, 0.0)),
        row(1, drop=-0.05, drop_interval=(-0.07, -0.03)),
        row(2, drop=-0.02, drop_interval=(-0.04, -0.001)),  # by chance, among many candidates
        row(3, drop=0.05, drop_interval=(0.03, 0.07)),
        row(4, drop=-0.09, drop_interval=(-0.11, -0.07)),
        row(5, state="stopped", drop=-0.2, drop_interval=None),
    ]
    assert [better.trial for better in beating_trials(rows)] == [4, 1]


def test_equal_candidates_rarely_beat_the_teacher() -> None:
    studies = np.random.default_rng(0).normal(0, 0.01, (400, 100))
    beaten = [
        bool(beating_trials([row(n + 1, drop=drop, drop_interval=(drop - 0.0196, drop + 0.0196)) for n, drop in drops]))
        for drops in map(enumerate, studies)
    ]
    assert 0 < sum(beaten) < 0.08 * len(beaten)  # 5 % are expected


# ---- a whole study -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_badly_trained_teacher_is_a_warning_everywhere(tmp_path: Path) -> None:
    teacher = {"model": "./teacher", "fine_tune": {"epochs": 0.2, "learning_rate": 1e-7}}
    file = tiny_study(tmp_path, teacher=teacher, space={"weight_bits": [32, 8]}, budget={"trials": 1})
    searched = run_cli("search", file, "--offline", cwd=tmp_path).stderr
    warning = "warning: logistic regression on words (TF-IDF) reaches"
    assert 0 < searched.index(warning) < searched.index("trial 1")  # before the first trial
    front = run_cli("front", file, cwd=tmp_path).stdout
    assert warning in front and "--set study=tiny-2 --set teacher.fine_tune=auto" in front
    document = json.loads(run_cli("front", file, "--json", cwd=tmp_path).stdout)
    assert any("TF-IDF" in text for text in document["warnings"])
    run_cli("report", file, "--to", "report.html", cwd=tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<b>Warning:</b> logistic regression on words" in page and 'id="plot-teacher"' in page
    run_cli("export", file, "--trial", 1, "--to", "model", cwd=tmp_path)
    assert "logistic regression on words (TF-IDF)" in (tmp_path / "model" / "README.md").read_text()
    plan = read_plan(file)
    view = read_study(plan.storage, plan.study)
    assert view.fine_tuning is not None and len(view.fine_tuning.curve) >= 1
