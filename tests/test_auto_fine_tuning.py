"""Fine-tuning with settings that are searched: interrupted, out of memory, on too few rows, and in a whole study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autocompress.config import AutoFineTune, FineTune, StudyPlan, read_as_begun, read_plan
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.core.json_types import Json
from autocompress.search import auto_fine_tuning
from autocompress.search.auto_fine_tuning import AutoFineTuning
from autocompress.search.fine_tuning_length import PROBED_ROWS, stop_rows
from autocompress.search.plan_check import complete_plan, prepare
from autocompress.search.stage_timer import StageTimer
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_provider import TeacherProvider
from autocompress.search.work_folder import MOST_DEATHS, WorkFolder
from autocompress.storage.artifact_store import Store
from autocompress.study.study_view import stored_plan
from autocompress.study.trial_details import read_trial_details
from autocompress.training import checkpoint
from autocompress.training.fine_tuning import CURVE_POINTS
from tests.conftest import run_cli
from tests.tiny import tiny_rows, tiny_study, tiny_teacher, write_rows

AUTO = {"model": "./teacher", "fine_tune": "auto"}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a usual fine-tuning as short as a tiny model needs."""
    monkeypatch.setattr(auto_fine_tuning, "usual_length", lambda rows, labels: 1800)


class Interrupted(BaseException):
    """Ends a training like a kill."""


class Tuning:
    """A tiny fine-tuning in a folder of its own."""

    def __init__(self, folder: Path, work: str, **fine_tune: Any) -> None:
        self.plan = read_plan(tiny_study(folder, teacher={**AUTO, "fine_tune": {"auto": True, **fine_tune}}))
        self.data, self.folder = StudyData(self.plan, offline=True), folder / work
        self.reports: list[tuple[str, float]] = []

    def run(
        self, report: Callable[[str, float], None] | None = None, batch_of: Callable[..., Any] | None = None
    ) -> tuple[Any, Json]:
        settings = self.plan.teacher.fine_tune
        assert isinstance(settings, AutoFineTune)
        if batch_of is not None:
            self.data.training_batch = batch_of  # type: ignore[method-assign]
        provider = TeacherProvider(self.plan, self.data, Store(self.folder), offline=True)

        def note(text: str, fraction: float) -> None:
            self.reports.append((text, fraction))
            if report is not None:
                report(text, fraction)

        return AutoFineTuning(
            self.plan, settings, self.data, provider._load_new_head, WorkFolder(self.folder), note, lambda step: step,
            provider._shown,
        ).run()  # fmt: skip


def weights(model: Any) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.slow
def test_an_interrupted_search_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.1)
    whole, record = Tuning(tmp_path, "whole").run()
    interrupted = Tuning(tmp_path, "interrupted")
    for reports in (2, 4, 9):  # after it went on: at different places, also in the second setting

        def die(text: str, fraction: float, reports: int = reports) -> None:
            if len(interrupted.reports) == reports:
                raise Interrupted

        interrupted.reports.clear()
        with pytest.raises(Interrupted):
            interrupted.run(die)
    again, second_record = interrupted.run()
    assert {**record, "seconds": 0} == {**second_record, "seconds": 0}
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))


def test_settings_are_judged_on_rows_that_they_do_not_learn(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, "work")
    learned: set[bytes] = set()
    real = tuning.data.training_batch

    def spy(tokens: Any, rows: np.ndarray) -> dict[str, torch.Tensor]:
        if torch.is_grad_enabled() and len(tokens) < len(tuning.data.splits.train):  # while settings are compared
            learned.update(tokens.input_ids[row].tobytes() for row in rows)
        return real(tokens, rows)

    model, values = tuning.run(batch_of=spy)
    record = FineTuningRecord.from_facts({"fine_tuning": values})
    assert record is not None and record.judged_rows == pytest.approx(stop_rows(240), abs=5)
    train = tuning.data.tokens["train"].input_ids
    assert len({ids.tobytes() for ids in train} - learned) > 0.8 * record.judged_rows
    assert len(record.trials) > 3 and len(record.curve) == CURVE_POINTS and record.curve[-1]["quality"] > 0.8
    assert f"on {record.judged_rows} rows of train" in record.describe() and " → " in record.describe()
    assert not model.training
    assert any("setting 2, 25%" in text and "best so far" in text for text, _ in tuning.reports)
    assert any(text.startswith("the chosen setting") for text, _ in tuning.reports)


def test_the_teacher_is_what_the_chosen_settings_give(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, "work")
    model, record = tuning.run()
    given = tuning.plan.teacher.model_copy(update={"fine_tune": FineTune.model_validate(record["settings"])})
    plan = tuning.plan.model_copy(update={"teacher": given})
    provider = TeacherProvider(plan, StudyData(plan, offline=True), Store(tmp_path / "given"), offline=True)
    again = provider.load(StageTimer(lambda stage, fraction: None))
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(again), strict=True))


def needing_memory(tuning: Tuning, most: int) -> Callable[..., Any]:
    real = tuning.data.training_batch

    def batch_of(tokens: Any, rows: np.ndarray) -> dict[str, torch.Tensor]:
        if torch.is_grad_enabled() and len(rows) > most:
            raise torch.OutOfMemoryError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return real(tokens, rows)

    return batch_of


@pytest.mark.parametrize("fine_tune", [{}, {"time": 0.5}])  # with and without a search
def test_a_setting_that_needs_too_much_memory_fails_and_not_the_study(tmp_path: Path, fine_tune: Json) -> None:
    tuning = Tuning(tmp_path, "work", **fine_tune)
    _, record = tuning.run(batch_of=needing_memory(tuning, 16))
    assert record["settings"]["batch"] <= 16
    assert "can't allocate memory" in record["trials"][0]["failure"]


def test_a_setting_that_kills_the_process_again_and_again_fails(tmp_path: Path) -> None:
    def die(text: str, fraction: float) -> None:
        if "batch 32" in text:
            raise Interrupted

    tuning = Tuning(tmp_path, "work")
    for _ in range(MOST_DEATHS):
        with pytest.raises(Interrupted):
            tuning.run(die)
    _, record = tuning.run(die)
    assert record["trials"][0]["failure"] == "the process was killed (out of memory?)"
    assert record["settings"]["batch"] < 32


def test_where_no_setting_can_be_trained_the_error_names_the_way_out(tmp_path: Path) -> None:
    def batch_of(tokens: Any, rows: np.ndarray) -> dict[str, torch.Tensor]:
        raise MemoryError("no memory")

    with pytest.raises(
        AutocompressError, match=r"fine_tune: no setting could be trained \(no memory\); give the settings"
    ):
        Tuning(tmp_path, "work").run(batch_of=batch_of)


def test_another_error_is_no_failed_setting(tmp_path: Path) -> None:
    def batch_of(tokens: Any, rows: np.ndarray) -> dict[str, torch.Tensor]:
        raise RuntimeError("a fault of the program")

    with pytest.raises(RuntimeError, match="a fault of the program"):
        Tuning(tmp_path, "work").run(batch_of=batch_of)


def test_little_time_trains_the_first_setting_alone(tmp_path: Path) -> None:
    _, record = Tuning(tmp_path, "work", time=0.5).run()
    assert record["trials"] == [] and record["settings"]["learning_rate"] == 3e-4
    assert record["settings"]["epochs"] < 1800 / 240


# ---- the study file ------------------------------------------------------------------------------------------------


def headless(folder: Path) -> Path:
    from transformers import AutoModelForSequenceClassification

    tiny_teacher(folder)
    AutoModelForSequenceClassification.from_pretrained(folder).bert.save_pretrained(folder)
    return folder


def chosen(file: Path, *overrides: str) -> StudyPlan:
    return complete_plan(read_plan(file, overrides), offline=True)


def test_a_model_without_classifier_is_fine_tuned_automatically_within_a_quarter_of_the_time(tmp_path: Path) -> None:
    headless(tmp_path / "bare")
    file = tiny_study(tmp_path, teacher={"model": "./bare"}, budget={"time": "20m"})
    probed = AutoFineTune(linear_probe_rows=PROBED_ROWS)
    for overrides, expected in {
        (): probed.model_copy(update={"time": 300}),
        ("teacher.fine_tune={auto: true, time: 2m}",): probed.model_copy(update={"time": 120}),
        ("budget.time=null", "budget.trials=3"): probed,
    }.items():
        assert chosen(file, *overrides).teacher.fine_tune == expected
    with_classifier = tiny_study(tmp_path, teacher={"model": "./teacher"}, budget={"time": "20m"})
    assert chosen(with_classifier).teacher.fine_tune is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("automatic", r"teacher.fine_tune: auto or a mapping such as .* is needed, but got 'automatic'"),
        ({"auto": True, "epochs": 3}, r"teacher.fine_tune: `auto` chooses epochs itself; leave out epochs, or auto"),
        ({"auto": False}, r"teacher.fine_tune.auto: only true is possible"),
        ({"auto": True, "tiem": "5m"}, r"teacher.fine_tune.tiem: unknown key.*time"),
    ],
)
def test_wrong_values_are_refused_in_one_sentence(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_plan(tiny_study(tmp_path, teacher={"model": "./teacher", "fine_tune": value}))


def test_too_few_rows_are_refused_before_any_work(tmp_path: Path) -> None:
    file = tiny_study(tmp_path, teacher=AUTO)
    write_rows(tmp_path / "data" / "train.csv", tiny_rows(40, 7))
    with pytest.raises(
        UsageError, match=r"teacher.fine_tune: .* 40 rows are too few to cut from \(at least 50 are needed\)"
    ):
        prepare(read_plan(file), offline=True)
    labels = [{"text": f"film number {row}", "label": f"kind {row}"} for row in range(60)]
    write_rows(tmp_path / "data" / "train.csv", labels)
    for split in ("validation", "test"):
        write_rows(tmp_path / "data" / f"{split}.csv", labels[:9])
    with pytest.raises(UsageError, match=r"teacher.fine_tune: train has 60 rows for 60 labels"):
        prepare(read_plan(file), offline=True)
    assert not (tmp_path / "tiny").exists()


def test_a_study_searches_the_settings_once_and_keeps_their_time(tmp_path: Path) -> None:
    headless(tmp_path / "bare")
    file = tiny_study(
        tmp_path, teacher={"model": "./bare"}, space={"weight_bits": [32, 8]}, budget={"trials": 1, "time": "20s"}
    )
    first = run_cli("search", file, "--offline", cwd=tmp_path)
    assert "the teacher was fine-tuned for" in first.stderr
    plan = read_plan(file)
    facts = read_trial_details(plan.storage, plan.study, 0).outcome.facts
    record = FineTuningRecord.from_facts(facts)
    assert record is not None and record.describe() in first.stderr
    assert not list((plan.artifacts.path / "fine_tuning").glob("*"))  # only an interrupted search leaves files there
    again = run_cli("search", file, "--offline", "--trials", 2, "--time", "60s", "-v", cwd=tmp_path)
    assert "fine-tuning the teacher" not in again.stderr
    stored = stored_plan(plan.storage, plan.study)
    assert stored is not None and stored["teacher"]["fine_tune"]["time"] == 5
    file.write_text(file.read_text().replace("model: ./bare", "model: ./bare\n  fine_tune: auto"))
    assert read_as_begun(file, stored).teacher.fine_tune == AutoFineTune(time=5, linear_probe_rows=PROBED_ROWS)
    file.write_text(file.read_text().replace("fine_tune: auto", "fine_tune: {epochs: 2}"))
    assert read_as_begun(file, stored).teacher.fine_tune == AutoFineTune(time=5, linear_probe_rows=PROBED_ROWS)
    refused = run_cli("search", file, "--offline", "--trials", 3, cwd=tmp_path, code=2)
    assert "teacher.fine_tune" in refused.stderr
