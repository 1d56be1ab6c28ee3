"""The peers benchmark: rows, ratios, what is built again, and what stays of a peer that fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from autocompress.config import StudyPlan, read_plan
from autocompress.core.errors import UsageError
from benchmarks import peer_recipes, peers_runs
from benchmarks.peer_recipes import NAMES, PICKED, REFERENCE, load_peer
from benchmarks.peer_recipes.optuna_loop import choose_trial
from benchmarks.peer_recipes.torch_pruning import choose_ratio
from benchmarks.peers_cases import Case, read_case, write_case
from benchmarks.peers_environments import PROJECT, read_section
from benchmarks.peers_records import Row, pack_labels, read_rows, remove_lost_rows, unpack_labels
from benchmarks.peers_records import write_rows as write_records
from benchmarks.peers_runs import build_row, compare_labels, run_case
from benchmarks.peers_studies import check_splits, make_case
from benchmarks.peers_timing import compare, last_line, shorten, time_models
from benchmarks.peers_worker import measure_size_mb
from tests.peer_rows import row_of
from tests.tiny import tiny_teacher, write_rows

SERVER = (  # stands for a worker: it answers a block of the model with 2 s, one of texts with 3 s
    "import json, sys\n"
    "print(json.dumps({'has_session': True}), flush=True)\n"
    "for line in sys.stdin: print(json.dumps({'seconds': 2.0 if line.strip() == 'model' else 3.0}), flush=True)"
)


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "peers.json"
    monkeypatch.setattr("benchmarks.peers_records.RECORDS", path)
    return path


def test_rows_are_read_as_written_and_replaced_by_key(records: Path) -> None:
    write_records([row_of(PICKED, 20.0), row_of("tfidf", 50.0)])
    write_records([row_of("tfidf", 60.0)])
    rows = read_rows()
    assert rows == {row.key: row for row in (row_of(PICKED, 20.0), row_of("tfidf", 60.0))}
    assert len(records.read_text(encoding="utf-8").splitlines()) == 4  # a line for each row


def test_remove_lost_rows_keeps_results_and_rows_of_other_peers(records: Path) -> None:
    lost = [Row(set="trec", seed=0, peer=peer, reason="no module") for peer in ("olive", "model2vec")]
    write_records([row_of(PICKED, 20.0), *lost])
    assert remove_lost_rows(["trec"], [0], ["olive", PICKED]) == 1
    assert {row.peer for row in read_rows().values()} == {PICKED, "model2vec"}


def test_labels_are_packed_without_loss() -> None:
    labels = np.random.default_rng(0).integers(0, 77, 500)
    assert np.array_equal(unpack_labels(pack_labels(labels)), labels)


def test_compare_returns_the_geometric_mean_of_the_ratios() -> None:
    ratio = compare([4.0, 8.0, 4.0], [2.0, 2.0, 2.0])
    assert ratio.speedup == pytest.approx(2 * 2 ** (1 / 3))
    assert ratio.milliseconds == 2000
    assert ratio.interval[0] < 2 < 4 < ratio.interval[1]
    assert compare([4.0, 8.0], [4.0, 8.0]).interval == (1.0, 1.0)  # the reference itself


def test_compare_labels_pairs_the_rows() -> None:
    truth = np.zeros(1000, np.int64)
    teacher, labels = truth.copy(), truth.copy()
    teacher[500:600] = 1
    labels[500:620] = 1
    drop, (low, high) = compare_labels(labels, teacher, truth, 0)
    assert drop == pytest.approx(0.02)
    assert 0.01 < low < drop < high < 0.03  # rows that both get wrong add no noise


def test_time_models_alternates_and_keeps_the_reason_of_a_failure(tmp_path: Path) -> None:
    commands = {
        REFERENCE: [sys.executable, "-c", SERVER],
        "olive": [sys.executable, "-c", "raise ValueError('no file /a/folder/model.onnx')"],
        "tfidf": [sys.executable, "-c", SERVER.replace("True", "False", 1)],
    }
    timings = time_models(commands, os.environ, tmp_path, rounds=3)
    assert timings.seconds == {"model": {REFERENCE: [2.0] * 3}, "texts": {REFERENCE: [3.0] * 3, "tfidf": [3.0] * 3}}
    assert timings.failures == {"olive": "ValueError: no file model.onnx"}


def test_time_models_loses_a_model_that_ends_in_a_round(tmp_path: Path) -> None:
    ending = SERVER.replace("for line in sys.stdin:", "for line in (sys.stdin.readline() for _ in range(2)):")
    timings = time_models(
        {"olive": [sys.executable, "-c", ending + "\nraise OSError('gone')"]}, os.environ, tmp_path, rounds=3
    )
    assert timings.failures == {"olive": "OSError: gone"}
    assert timings.seconds == {"model": {}, "texts": {}}


def test_last_line_leaves_folders_out(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a\nFileNotFoundError: /home/me/x.bin is missing\n\n", encoding="utf-8")
    assert last_line(tmp_path / "log") == "FileNotFoundError: x.bin is missing"
    assert shorten("'/a/b/python' and '/c/python' are 1/2 the same") == "'python' and 'python' are 1/2 the same"


@pytest.fixture
def case(tmp_path: Path) -> Case:
    (tmp_path / "rows.json").write_text(
        '{"test": {"texts": [["a", null], ["b", null]], "labels": [0, 1]}}', encoding="utf-8"
    )
    return Case(folder=tmp_path, data_set="trec", seed=0, base="", labels=2, has_pairs=False, max_tokens=8, threads=1,
                fine_tuning={}, search_seconds=1.0, picked=None)  # fmt: skip


def test_a_case_is_read_as_written(case: Case) -> None:
    np.savez(case.folder / "feeds.npz", np.array([[5, 6]]), np.array([[7]]))
    write_case(case)
    read = read_case(case.folder)
    assert read == case
    assert read.rows("test").texts == [("a", None), ("b", None)] and read.rows("test").labels.tolist() == [0, 1]
    assert [feed["input_ids"].tolist() for feed in read.feeds()] == [[[5, 6]], [[7]]]
    assert read.feeds()[0]["attention_mask"].tolist() == [[1, 1]]


def test_size_counts_only_what_the_runtime_loads(tmp_path: Path) -> None:
    for name, size in (("model.onnx", 1000), ("model.onnx.data", 2000), ("tokenizer.json", 4000)):
        (tmp_path / name).write_bytes(bytes(size))
    assert measure_size_mb(load_peer("onnxruntime_int8"), tmp_path) == pytest.approx(0.003)


def stand_in(labels: str) -> str:
    """A worker that builds nothing and predicts these labels."""
    return (
        "import json, pathlib, sys\n"
        "what, _, _, folder = sys.argv[1:]\n"
        "pathlib.Path(folder).mkdir(parents=True, exist_ok=True)\n"
        "(pathlib.Path(folder) / 'built.json').write_text('{\"seconds\": 2.0, \"notes\": null}')\n"
        f"print(json.dumps({{'labels': {labels}, 'size_mb': 1.5, 'versions': {{}}}}))"
    )


def use_worker(monkeypatch: pytest.MonkeyPatch, code: str) -> list[str]:
    started: list[str] = []

    def command(case: Case, name: str, what: str) -> list[str]:
        started.append(f"{what} {name}")
        return [sys.executable, "-c", code, what, name, str(case.folder), str(case.folder / "models" / name)]

    monkeypatch.setattr(peers_runs, "_command", command)
    return started


def test_build_row_scores_against_the_teacher(records: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    use_worker(monkeypatch, stand_in("[0, 1]"))
    write_records([build_row(case, REFERENCE)])
    use_worker(monkeypatch, stand_in("[0, 0]"))
    row = build_row(case, "tfidf")
    assert (row.accuracy, row.drop, row.seconds, row.size_mb, row.reason) == (0.5, 0.5, 2.0, 1.5, None)


def test_a_failed_build_leaves_a_row_with_its_reason(
    records: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(monkeypatch, "raise ImportError('no package')")
    row = build_row(case, "olive")
    assert row.is_lost and row.reason == "ImportError: no package"


def test_run_case_starts_nothing_where_all_rows_are_there(
    records: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = use_worker(monkeypatch, stand_in("[0, 1]"))
    write_records([row_of(REFERENCE, 1.0), Row(set="trec", seed=0, peer="olive", reason="no package")])
    run_case(case, ["olive"])
    assert started == []


def test_run_case_builds_the_missing_model_and_times_all(
    records: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = use_worker(monkeypatch, stand_in("[0, 1]"))
    timed: list[str] = []

    def time_rows(case: Case, rows: Sequence[Row]) -> list[Row]:
        timed.extend(row.peer for row in rows)
        return [replace(row, text_ms=1.0) for row in rows]

    monkeypatch.setattr(peers_runs, "time_rows", time_rows)
    write_records([Row(set="trec", seed=0, peer="olive", reason="no package")])
    run_case(case, ["olive", "tfidf"])
    assert started == [f"{what} {name}" for name in (REFERENCE, "tfidf") for what in ("build", "predict")]
    assert sorted(timed) == sorted([REFERENCE, "tfidf"])
    run_case(case, ["olive", "tfidf"])
    assert len(started) == 4
    timed.clear()
    use_worker(monkeypatch, "raise ImportError('no package')")
    run_case(case, ["model2vec"])
    assert timed == [] and read_rows()["trec", 0, "model2vec"].is_lost  # a lost row changes no time


def test_every_file_of_the_folder_is_a_named_peer_with_an_environment() -> None:
    files = {file.stem for file in Path(peer_recipes.__file__).parent.glob("[a-z]*.py")}
    assert files == set(NAMES)
    for name in NAMES:
        environment = load_peer(name).environment
        assert environment == PROJECT or all("==" in line for line in read_section(environment))


def test_read_section_names_the_available_ones() -> None:
    with pytest.raises(ValueError, match="no section 'torch'; available: nncf"):
        read_section("torch")


def test_make_case_without_a_study_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"autocompress search \S*trec-1.yaml"):
        make_case(tmp_path, "trec", 1, tmp_path / "case")


def test_choose_ratio_prefers_the_smallest_model_within_the_goal() -> None:
    assert choose_ratio({0.25: 0.95, 0.5: 0.94, 0.75: 0.8}, 0.93) == 0.5
    assert choose_ratio({0.25: 0.8, 0.5: 0.9, 0.75: 0.7}, 0.93) == 0.5


def test_choose_trial_is_the_fastest_within_the_goal() -> None:
    assert choose_trial({0: (0.95, 4.0), 1: (0.94, 2.0), 2: (0.8, 1.0)}, 0.93) == 1
    with pytest.raises(ValueError, match="none of 1 trials"):
        choose_trial({2: (0.8, 1.0)}, 0.93)


def test_a_set_without_a_test_split_is_tested_on_its_dev_set(tmp_path: Path) -> None:
    file, data = tmp_path / "mrpc-0.yaml", {"train": "train.parquet", "test": "validation.parquet"}
    columns = {"text": "sentence1", "text_pair": "sentence2", "label": "label"}
    for name in ("train", "validation"):
        write_rows(tmp_path / f"{name}.parquet", [{"sentence1": "a", "sentence2": "b", "label": 0}] * 20)

    def read(splits: dict[str, str]) -> StudyPlan:
        study = {
            "teacher": {"model": str(tiny_teacher(tmp_path / "teacher"))},
            "task": {"data": splits, "columns": columns},
        }
        file.write_text(yaml.safe_dump(study), encoding="utf-8")
        return read_plan(file)

    check_splits(read(data), "mrpc")
    check_splits(read({"train": "train.parquet", "validation": "validation.parquet"}), "trec")
    with pytest.raises(UsageError, match="mrpc has no test split"):
        check_splits(read({"train": "train.parquet", "validation": "validation.parquet"}), "mrpc")
