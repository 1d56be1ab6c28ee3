"""Size of an artifact, memory and start of a fresh process, and the conditions of a measurement."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import numpy as np
import pytest

from autocompress import benchmarking
from autocompress.runtimes.onnxruntime import RUNTIME
from tests.models import deployed, tiny_candidate

FEED = {"input_ids": np.ones((1, 8), np.int64)}


def test_memory_and_size_are_those_of_the_artifact(tmp_path: Path) -> None:
    folder = deployed(tiny_candidate(), tmp_path / "a")
    memory, start = benchmarking.measure_fresh_process("onnxruntime", folder, FEED, threads=1)
    assert memory is not None
    assert 0 < memory < 60
    assert start is not None and start > 0
    assert benchmarking.size_mb(RUNTIME, folder) == (folder / "model.onnx").stat().st_size / 1e6
    assert benchmarking.measure_fresh_process("onnxruntime", tmp_path / "nothing", FEED, threads=1) == (None, None)


def test_measure_fresh_process_logs_the_stderr_of_a_failed_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert benchmarking.measure_fresh_process("onnxruntime", tmp_path / "nothing", FEED, threads=1) == (None, None)
    [record] = [record for record in caplog.records if record.name == "autocompress.benchmarking.fresh_process"]
    assert record.levelno == logging.WARNING
    assert "exit code 1" in record.getMessage() and "Traceback" in record.getMessage()
    assert "model.onnx" in record.getMessage()


def test_conditions_name_the_machine_but_not_its_host() -> None:
    conditions = benchmarking.collect_conditions("onnxruntime", 1, 1, 32, 0)
    assert conditions["runtime_version"]
    assert conditions["cpu"]
    assert platform.node() not in str(conditions)
