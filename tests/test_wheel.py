"""The built wheel contains search spaces and metrics, and works outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.tiny import tiny_study

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_wheel_searches_outside_the_repository(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "autocompress/search_spaces/encoder.yaml" in names
    assert not any(name.startswith(("tests/", "studies/")) for name in names)
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    task = {
        "data": {split: f"data/{split}.csv" for split in ("train", "validation", "test")},
        "metric": "f1",
        "max_tokens": 32,
    }
    file = tiny_study(tmp_path / "outside", space="bits", task=task, budget={"trials": 2})
    environment = {**os.environ, "PYTHONPATH": str(site)}
    print_path = [sys.executable, "-c", "import autocompress; print(autocompress.__file__)"]
    imported = subprocess.run(print_path, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert imported.stdout.startswith(str(site))
    search = [sys.executable, "-m", "autocompress", "search", file.name, "--offline"]
    done = subprocess.run(search, env=environment, cwd=file.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "teacher, fp32" in done.stdout
