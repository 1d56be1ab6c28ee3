"""Verifying an exported folder: hashes and recorded outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress.actions.verify import ADDED_FILES, SUMS_FILE, format_sums, verify_folder
from autocompress.core.stage import digest
from autocompress.interfaces.cli import main
from autocompress.storage.checksums import manifest

pytest_plugins = ["tests.exported"]


def test_verify_passes_an_export(exported: Path) -> None:
    verdict = verify_folder(exported)
    assert verdict.passed
    assert (verdict.same_machine, verdict.inputs, verdict.labels_changed) == (True, 4, 0)
    assert verdict.largest_difference is not None and verdict.largest_difference <= 1e-4
    assert main(["verify", str(exported)]) == 0


def test_verify_detects_one_flipped_byte(copied: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sorted(copied.iterdir()):
        content = path.read_bytes()
        for index in {0, len(content) - 1, *map(int, rng.integers(0, len(content), 3))}:
            spoiled = bytearray(content)
            spoiled[index] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(bytes(spoiled))
            assert not verify_folder(copied).passed, f"byte {index} of {path.name}"
        path.write_bytes(content)
    assert verify_folder(copied).passed


def test_verify_rejects_capital_hashes(copied: Path) -> None:
    """A flipped bit that turns a hash into capitals, which tools for hashes accept."""
    text = (copied / SUMS_FILE).read_text()
    (copied / SUMS_FILE).write_text(re.sub("[a-f]", lambda letter: letter[0].upper(), text, count=1))
    assert not verify_folder(copied).passed


def test_verify_names_missing_and_added_files(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "extra.py").write_text("")
    assert verify_folder(copied).problems == ("extra.py was added",)
    (copied / "extra.py").unlink()
    (copied / "recipe.json").rename(copied / "moved.json")
    assert set(verify_folder(copied).problems) == {"recipe.json is missing", "moved.json was added"}
    assert main(["verify", str(copied), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False
    (copied / SUMS_FILE).unlink()
    assert "SHA256SUMS is missing" in verify_folder(copied).problems[0]


def test_verify_detects_rewritten_hashes(copied: Path) -> None:
    (copied / "recipe.json").write_text("{}")
    (copied / SUMS_FILE).write_text(format_sums(copied))
    assert "are not those that measurement.json describes" in verify_folder(copied).problems[0]


def record(folder: Path, change: Any, cpu: str | None = None) -> None:
    """Change the recorded outputs, and make folder and hashes agree with them, as if they were recorded so."""
    with np.load(folder / "check.npz") as check:
        arrays = dict(check)
    np.savez(folder / "check.npz", **{n: change(a) if n.startswith("logits") else a for n, a in arrays.items()})
    measured = json.loads((folder / "measurement.json").read_text())
    measured["artifact_sha256"] = digest({n: s for n, s in manifest(folder).items() if n not in ADDED_FILES})
    measured["measurement"]["conditions"]["cpu"] = cpu or measured["measurement"]["conditions"]["cpu"]
    (folder / "measurement.json").write_text(json.dumps(measured))
    (folder / SUMS_FILE).write_text(format_sums(folder))


@pytest.mark.parametrize(
    ("shift", "cpu", "problem"),
    [
        (5e-5, None, None),
        (1e-3, None, "at most 0.0001 is allowed"),
        (1e-3, "another CPU", None),
        (0.0, "another CPU", None),
    ],
)
def test_verify_allows_rounding_on_other_machines(
    copied: Path, shift: float, cpu: str | None, problem: str | None
) -> None:
    record(copied, lambda logits: logits + np.float32(shift), cpu)
    verdict = verify_folder(copied)
    assert verdict.same_machine is (cpu is None)
    assert verdict.largest_difference == pytest.approx(shift, abs=2e-5)
    if problem is None:
        assert verdict.passed
    else:
        assert problem in verdict.problems[0]


@pytest.mark.parametrize("cpu", [None, "another CPU"])
def test_verify_fails_on_changed_labels(copied: Path, cpu: str | None) -> None:
    record(copied, lambda logits: -logits, cpu)
    verdict = verify_folder(copied)
    assert verdict.labels_changed == 4
    assert "4 of 4 recorded inputs get another prediction" in verdict.problems[0]
