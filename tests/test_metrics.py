"""Metrics: the contract of each, their definitions in plain loops, and loading without a network."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import autocompress
from autocompress import metrics
from autocompress.core.errors import UsageError

NAMES = metrics.METRICS.names()
LABEL_METRICS = [name for name, metric in metrics.METRICS.entries().items() if "labels" in metric.reads]
NUMBER_METRICS = [name for name, metric in metrics.METRICS.entries().items() if "numbers" in metric.reads]
COUNTED = [name for name, metric in metrics.METRICS.entries().items() if metric.counts]
each_metric = pytest.mark.parametrize("name", NAMES)
each_label_metric = pytest.mark.parametrize("name", LABEL_METRICS)
each_number_metric = pytest.mark.parametrize("name", NUMBER_METRICS)
label_pairs = st.integers(2, 5).flatmap(
    lambda labels: st.lists(st.tuples(*[st.integers(0, labels - 1)] * 2), min_size=1, max_size=60)
)


@pytest.fixture(autouse=True, scope="module")
def no_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Refuse connections, and send the copies that `evaluate.load` makes to a temporary folder."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a metric opened a connection")

    folder = tmp_path_factory.mktemp("huggingface")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "evaluate_modules"]:
            patch.delitem(sys.modules, name)  # copies of earlier tests
        patch.setattr(sys, "path", [path for path in sys.path if path != str(evaluate.config.HF_MODULES_CACHE)])
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", folder / "modules")
        patch.setattr(evaluate.config, "HF_METRICS_CACHE", folder / "metrics")
        metrics._load_module.cache_clear()
        yield folder
        metrics._load_module.cache_clear()


# The contract ---------------------------------------------------------------------------------------------------------


@each_metric
def test_correct_predictions_score_one_and_errors_less(name: str) -> None:
    references = np.arange(90) % 3
    scores = [
        metrics.score(name, *as_read(name, np.where(np.arange(90) < wrong, 2 - references, references), references))
        for wrong in (0, 20, 50)
    ]
    assert scores[0] == pytest.approx(1.0)
    assert scores[0] > scores[1] > scores[2]


@each_metric
@settings(max_examples=30, deadline=None)
@given(pairs=label_pairs)
def test_module_and_fast_function_agree(name: str, pairs: list[tuple[int, int]]) -> None:
    predictions, references = as_read(name, *columns(pairs))
    assert metrics.load_metric(name).compute(predictions, references) == metrics.score(name, predictions, references)
    others = references if references.dtype == object else references.astype(np.int32)
    assert metrics.score(name, predictions.tolist(), others) == pytest.approx(
        metrics.score(name, predictions, references)
    )


@each_label_metric
@settings(max_examples=60, deadline=None)
@given(pairs=label_pairs)
def test_score_equals_its_definition(name: str, pairs: list[tuple[int, int]]) -> None:
    predictions, references = columns(pairs)
    expected = {"accuracy": plain_accuracy, "f1": plain_f1, "matthews_correlation": plain_matthews}[name](pairs)
    assert metrics.load_metric(name).compute(predictions, references) == pytest.approx(expected, abs=1e-12)


@each_metric
@pytest.mark.parametrize("sizes", [(3, 2), (1, 3), (0, 0)])
def test_score_refuses_empty_and_unequal_arrays(name: str, sizes: tuple[int, int]) -> None:
    predictions, references = (np.zeros(size, dtype=np.int64) for size in sizes)
    with pytest.raises(UsageError, match=name):
        metrics.score(name, predictions, references)
    with pytest.raises(ValueError, match="as many predictions as labels"):
        metrics.load_metric(name).compute(predictions, references)


@each_metric
def test_evaluate_itself_loads_the_file_from_its_path(name: str) -> None:
    file = Path(metrics.__file__).parent / f"{name}.py"
    module = evaluate.load(str(file), keep_in_memory=True)
    rows = [list(row) if isinstance(row, tuple) else row for row in as_read(name, np.array([0, 1, 1]))[0].tolist()]
    assert module.compute(predictions=rows, references=rows) == {name: pytest.approx(1.0)}
    assert metrics.METRICS.summary(name) in module.description


def test_scoring_leaves_no_files_but_the_copy_of_the_module(no_network: Path) -> None:
    metrics.score("accuracy", [0, 1], [0, 1])
    outside = [
        path for path in no_network.rglob("*") if path.is_file() and (no_network / "modules") not in path.parents
    ]
    assert outside == []


def test_evaluate_is_imported_only_when_something_is_scored() -> None:
    program = "import sys, autocompress.metrics; print(sorted({'evaluate', 'datasets', 'torch'} & set(sys.modules)))"
    root = Path(autocompress.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_loading_a_packaged_metric_imports_neither_evaluate_nor_torch() -> None:
    program = (
        "import sys; from autocompress.metrics import METRICS; METRICS.entries(); "
        "print(sorted({'evaluate', 'datasets', 'torch'} & set(sys.modules)))"
    )
    root = Path(autocompress.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


@each_metric
def test_a_metric_keeps_within_its_range_and_has_both_halves_of_counts(name: str) -> None:
    metric, rng = metrics.METRICS.load(name), np.random.default_rng(0)
    assert metric.name == name
    assert (metric.counts is None) == (metric.from_counts is None)
    assert metric.point > 0
    for seed in range(20):
        predictions, references = as_read(name, *rng.integers(0, 1 + seed % 4, (2, 30)))
        assert metric.lowest <= metric.compute(predictions, references) <= metric.highest


@pytest.mark.parametrize("name", COUNTED)
@settings(max_examples=40, deadline=None)
@given(pairs=label_pairs, seed=st.integers(0, 99))
def test_counts_of_resampled_rows_give_the_score_of_those_rows(
    name: str, pairs: list[tuple[int, int]], seed: int
) -> None:
    metric = metrics.METRICS.load(name)
    assert metric.counts is not None and metric.from_counts is not None
    predictions, references = as_read(name, *columns(pairs))
    rows = np.random.default_rng(seed).integers(0, len(pairs), (3, len(pairs)))
    counts = metric.counts(predictions, references)
    assert len(counts) == len(pairs)
    scores = metric.from_counts(counts.astype(np.float64)[rows].sum(1))
    expected = [metric.compute(predictions[some], references[some]) for some in rows]
    np.testing.assert_allclose(scores, expected, atol=1e-9)


def test_check_fit_refuses_a_metric_of_another_task() -> None:
    accuracy = metrics.METRICS.load("accuracy")
    message = (
        "s.yaml: task.metric: accuracy compares labels or tags, but regression predicts numbers; available: pearson, spearman, "
        "or a path"
    )
    with pytest.raises(UsageError, match=message):
        metrics.check_fit(accuracy, "numbers", "regression", "s.yaml: task.metric")
    metrics.check_fit(accuracy, "labels", "text-classification", "x")
    metrics.check_fit(metrics.Metric(name="own", reads=(), compute=accuracy.compute), "numbers", "regression", "x")


# Single metrics -------------------------------------------------------------------------------------------------------


def test_f1_means_label_one_for_two_labels_and_the_mean_for_more() -> None:
    module = evaluate.load(str(Path(metrics.__file__).parent / "f1.py"), keep_in_memory=True)
    two, three = ([0, 1, 0, 0], [0, 1, 1, 0]), ([0, 1, 2, 0], [0, 1, 1, 0])

    def f1(pair: tuple[list[int], list[int]], average: str) -> float:
        return float(module.compute(predictions=pair[0], references=pair[1], average=average)["f1"])

    assert f1(two, "auto") == f1(two, "binary") == pytest.approx(2 / 3)
    assert f1(two, "macro") == pytest.approx((0.8 + 2 / 3) / 2)
    assert f1(three, "auto") == f1(three, "macro") == pytest.approx((1 + 2 / 3 + 0) / 3)
    with pytest.raises(ValueError, match="average must be auto, binary or macro, but got 'micro'"):
        f1(two, "micro")


def test_matthews_correlation_of_two_labels_is_pearsons_even_for_many_examples() -> None:
    generator = np.random.default_rng(0)
    references = generator.integers(0, 2, 300_000)  # the fourth power of this overflows 64-bit integers
    predictions = np.where(generator.random(300_000) < 0.7, references, 1 - references)
    expected = np.corrcoef(predictions, references)[0, 1]
    assert metrics.load_metric("matthews_correlation").compute(predictions, references) == pytest.approx(
        expected, abs=1e-9
    )


def test_matthews_correlation_is_zero_for_one_answer_to_everything() -> None:
    assert metrics.score("matthews_correlation", [1, 1, 1, 1], [1, 0, 1, 1]) == 0.0
    assert metrics.score("matthews_correlation", [1, 0, 1, 0], [0, 1, 0, 1]) == pytest.approx(-1.0)


@each_number_metric
def test_correlations_are_scipys_with_ties(name: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    official = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[name]
    rng = np.random.default_rng(0)
    for rows in (5, 50, 500):
        truth = rng.integers(0, 8, rows) / 2  # many ties
        predictions = np.round(truth + rng.normal(0, 1, rows), 1).astype(np.float32)
        expected = official(predictions.astype(np.float64), truth).statistic
        assert metrics.load_metric(name).compute(predictions, truth) == pytest.approx(expected, abs=1e-9)
        assert metrics.score(name, predictions, truth) == pytest.approx(expected, abs=1e-9)


@each_number_metric
def test_correlations_of_equal_numbers_are_zero(name: str) -> None:
    compute = metrics.load_metric(name).compute
    assert compute(np.full(7, 0.1), np.arange(7.0)) == 0.0
    assert compute(np.arange(7.0), np.full(7, 1e9 + 0.1)) == 0.0
    assert compute(np.arange(7.0), -np.arange(7.0)) == pytest.approx(-1.0)


# Names and paths ------------------------------------------------------------------------------------------------------


def test_unknown_name_lists_available_metrics() -> None:
    with pytest.raises(
        UsageError, match="'precison'; available: accuracy, entity_f1, f1, matthews_correlation, pearson, spearman"
    ):
        metrics.score("precison", [0], [0])


def test_user_folder_or_file_is_a_metric(tmp_path: Path) -> None:
    file = write_metric(
        tmp_path, "agreement", "return {'agreement': sum(map(int.__eq__, predictions, references)) / 4}"
    )
    for path in (file.parent, file):
        assert metrics.score(str(path), [0, 1, 1, 0], [0, 1, 1, 1]) == 0.75
        assert metrics.load_metric(str(path)).compute(np.array([0, 1, 1, 0]), np.array([0, 1, 1, 1])) == 0.75


def test_user_file_may_export_a_metric_with_counts(tmp_path: Path) -> None:
    source = Path(metrics.__file__).parent / "accuracy.py"
    file = tmp_path / "mine.py"
    file.write_text(source.read_text(encoding="utf-8").replace('name="accuracy"', 'name="mine"'), encoding="utf-8")
    metric = metrics.load_metric(str(file))
    assert (metric.name, metric.reads, metric.counts is not None) == ("mine", ("labels", "tags"), True)
    assert metrics.score(str(file), [0, 1], [0, 0]) == 0.5


def test_packaged_metric_takes_precedence_over_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_metric(tmp_path, "accuracy", "return {'accuracy': -1.0}")
    monkeypatch.chdir(tmp_path)
    metrics._load_module.cache_clear()
    assert metrics.score("accuracy", [1], [1]) == 1.0
    assert metrics.score("./accuracy", [1], [1]) == -1.0


def test_module_with_a_missing_import_is_a_usage_error(tmp_path: Path) -> None:
    file = write_metric(tmp_path, "needy", "return {}", first="import no_such_library_at_all")
    with pytest.raises(UsageError, match="no_such_library_at_all"):
        metrics.score(str(file.parent), [0], [0])


def test_hub_metric_needs_trust_and_sends_no_telemetry() -> None:
    with pytest.raises(UsageError, match="available"):
        metrics.score("someone/metric", [0], [0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
        with pytest.raises(UsageError, match="someone/metric"):
            metrics.score("someone/metric", [0], [0], trust_remote_code=True)
    assert evaluate.config.HF_UPDATE_DOWNLOAD_COUNTS is False


# Helpers --------------------------------------------------------------------------------------------------------------


def columns(pairs: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return predictions and references, each `(examples,)`."""
    predictions, references = np.array(pairs, dtype=np.int64).T
    return predictions, references


def as_read(name: str, *arrays: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Return labels (rows,) as a metric reads them: as tags, each is one sentence with an entity of that type."""
    if not metrics.METRICS.load(name).is_sequence:
        return list(arrays)
    return [metrics.to_sequences([("O", f"B-{label}", f"I-{label}") for label in array]) for array in arrays]


def plain_accuracy(pairs: list[tuple[int, int]]) -> float:
    return sum(prediction == reference for prediction, reference in pairs) / len(pairs)


def plain_f1(pairs: list[tuple[int, int]]) -> float:
    """Return the harmonic mean of precision and recall: of label 1 if no label is above 1, else the mean over labels."""
    seen = sorted({label for pair in pairs for label in pair})
    scores = [plain_f1_of(label, pairs) for label in ([1] if max(seen) <= 1 else seen)]
    return sum(scores) / len(scores)


def plain_f1_of(label: int, pairs: list[tuple[int, int]]) -> float:
    hits = sum(pair == (label, label) for pair in pairs)
    if not hits:
        return 0.0
    precision = hits / sum(prediction == label for prediction, _ in pairs)
    recall = hits / sum(reference == label for _, reference in pairs)
    return 2 * precision * recall / (precision + recall)


def plain_matthews(pairs: list[tuple[int, int]]) -> float:
    """Return the correlation of the one-hot tables: covariance, summed over labels, ÷ the two standard deviations."""
    predictions, references = (np.eye(5)[column] for column in columns(pairs))
    predictions, references = predictions - predictions.mean(0), references - references.mean(0)
    spread = np.sqrt((predictions**2).sum() * (references**2).sum())
    return float((predictions * references).sum() / spread) if spread > 1e-9 else 0.0


def write_metric(folder: Path, name: str, body: str, first: str = "") -> Path:
    """Write a user's `evaluate` module NAME/NAME.py, as in the library's documentation: without a function `compute`."""
    file = folder / name / f"{name}.py"
    file.parent.mkdir()
    file.write_text(
        f"""{first}
import datasets
import evaluate

class Own(evaluate.Metric):
    def _info(self):
        labels = datasets.Features({{"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=labels)

    def _compute(self, predictions, references):
        {body}
"""
    )
    return file
