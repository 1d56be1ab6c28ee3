"""The commands list, doctor and clean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autocompress.actions import doctor
from autocompress.actions.inventory import KINDS
from autocompress.core.technique import ordered_techniques
from autocompress.interfaces.cli import main
from tests.formula import open_study, search


def test_list_prints_every_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == list(KINDS)
    assert [entry["name"] for entry in listed["techniques"]] == list(ordered_techniques())
    assert {entry["name"] for entry in listed["tasks"]} >= {"regression", "text-classification"}
    assert {entry["name"] for entry in listed["spaces"]} >= {"encoder", "quickstart"}
    for entries in listed.values():
        for entry in entries:
            assert entry["summary"]
            assert sum(entry["summary"] in line and entry["name"] in line for line in lines) >= 1
    here = {entry["name"]: entry["here"] for entry in listed["techniques"]}
    assert "32, 16, 8" in here["weight_bits"]


def test_doctor_reports_missing_extras_and_advice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find, old = doctor.importlib.util.find_spec, doctor.fingerprint()
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    monkeypatch.setattr(doctor, "fingerprint", lambda: old | {"cpu_flags": ["avx2"], "governor": "powersave"})
    assert main(["doctor", "--json"]) == 0
    findings = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["processor"]["good"] and old["cpu"] in findings["processor"]["found"]
    assert findings["extra search"]["found"] == "torch not installed"
    assert "pip install 'autocompress[search]'" in findings["extra search"]["advice"]
    assert not findings["8-bit arithmetic"]["good"] and not findings["CPU governor"]["good"]
    assert all((finding["advice"] is None) is finding["good"] for finding in findings.values())
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "! extra search" in printed and "✓ processor" in printed


def test_clean_keeps_needed_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = open_study(tmp_path)
    with study.lease():
        search(study, 7)
    capsys.readouterr()
    url = f"sqlite:///{tmp_path / 'study.db'}"
    assert main(["trials", "toy", "--storage", url, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["trials"]
    models, stage = tmp_path / "artifacts" / "models", tmp_path / "artifacts" / "stages" / "recovered" / "key"
    for folder in [*(models / row["sha256"] for row in rows if row["sha256"]), models / "of-another-study", stage]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_bytes(b"x" * 1000)
    kept = {row["sha256"] for row in rows if row["on_front"] or row["trial"] == 0} | {"of-another-study"}
    everything = {folder.name for folder in models.iterdir()}
    assert kept < everything

    def clean(*options: str) -> Any:
        assert main(["clean", "toy", "--storage", url, "--json", *options]) == 0
        return json.loads(capsys.readouterr().out)

    assert clean()["studies"][0]["bytes"] == 1000 * len(everything - kept)
    assert {folder.name for folder in models.iterdir()} == everything  # reported, not removed
    assert clean("--yes")["removed"] is True
    assert {folder.name for folder in models.iterdir()} == kept
    assert stage.is_dir()
    assert clean("--cache", "--yes")["studies"][0]["folders"] == 1
    assert not stage.exists()
    assert {folder.name for folder in models.iterdir()} == kept
