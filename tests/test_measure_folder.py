"""Measuring an exported folder, alone and beside a reference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import autocompress
from autocompress import benchmarking
from autocompress.actions import measure_folder

pytest_plugins = ["tests.exported"]


def test_measure_folder_with_and_without_reference(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_folder, "TIMING", benchmarking.QUICK_TIMING)
    alone = measure_folder.measure_folder(exported)
    assert alone.speedup is None
    assert (alone.conditions["tokens"], alone.conditions["threads"]) == (8, 1)  # as it was measured first
    assert alone.size_mb == (exported / "model.onnx").stat().st_size / 1e6
    assert 0 < alone.latency_ms <= alone.latency_p95_ms
    both = measure_folder.measure_folder(exported, exported, tokens=4, batch=2)
    assert both.speedup is not None and both.compression == 1.0
    assert (both.conditions["tokens"], both.conditions["batch"]) == (4, 2)
    assert both.conditions["blocks_alternate_with"] == exported.name
    json.dumps(both.as_json(), allow_nan=False)


def test_measure_needs_no_torch(exported: Path) -> None:
    program = (
        "import sys; from autocompress.interfaces.cli import main; "
        f"main(['measure', {str(exported)!r}]); print(*sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(autocompress.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "latency " in done.stdout
    assert not {"torch", "transformers", "optuna"} & set(done.stdout.split())
