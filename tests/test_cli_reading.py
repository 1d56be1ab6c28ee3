"""The commands that read a study: their JSON documents, their printed results, their imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import pytest

from autocompress.core.recipe import Recipe
from autocompress.core.technique import ordered_techniques
from autocompress.interfaces.cli import main
from tests.conftest import ROOT, Searched

pytest_plugins = ["tests.toy_commands"]

ROW = {
    *("trial", "state", "reason", "recipe", "on_front", "seconds", "sha256"),
    *("quality", "drop", "drop_interval", "test_quality", "test_drop", "test_drop_interval"),
    *("latency_ms", "latency_p95_ms", "speedup", "speedup_interval", "size_mb", "compression", "memory_mb"),
    *("cold_ms", "throughput", "start_ms", "ties"),
}

READING = ["front", "trials", "pick"]

HEAVY = {"torch", "optuna", "transformers", "datasets", "onnxruntime", "onnx"}


def document(answer: tuple[int, str, str], code: int = 0) -> dict[str, Any]:
    """The one JSON document of an answer."""
    assert answer[0] == code, answer[2]

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    values: dict[str, Any] = json.loads(answer[1], parse_constant=refuse)
    return values


def test_reading_imports_nothing_heavy(toy_folder: Path) -> None:
    study = ["toy", "--storage", f"sqlite:///{toy_folder / 'study.db'}"]
    lines = [[name, *study] for name in READING] + [["list", "spaces"], ["doctor"]]
    program = (
        "import sys; from autocompress.interfaces.cli import main; "
        f"print([main(line) for line in {lines!r}], *sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("[0, 0, 0, 0, 0] ")
    assert not HEAVY & {module.partition(".")[0] for module in last.split()}


def test_front_and_trials_json_follow_the_contract(command: Callable[..., tuple[int, str, str]]) -> None:
    front, trials = (document(command(name, "--json")) for name in ("front", "trials"))
    for answer in (front, trials):
        assert {"study", "teacher", "trials", "hypervolume", "seconds", "format_version"} <= answer.keys()
        assert (answer["study"], answer["format_version"], answer["teacher"]["trial"]) == ("toy", 1, 0)
        for row in [answer["teacher"], *answer["trials"]]:
            assert row.keys() >= ROW
            assert list(row["recipe"]) == list(ordered_techniques())
            assert row["state"] in ("complete", "stopped", "failed", "running")
    assert all(row["on_front"] and row["state"] == "complete" for row in front["trials"])
    numbers = [row["trial"] for row in trials["trials"]]
    assert numbers == list(range(len(numbers)))
    assert {row["trial"] for row in trials["trials"] if row["on_front"]} == {row["trial"] for row in front["trials"]}
    failed = next(row for row in trials["trials"] if row["state"] == "failed")
    assert (failed["reason"], failed["latency_ms"]) == ("the worker was killed by SIGKILL", None)
    assert isfinite(front["hypervolume"])
    assert front["hypervolume"] == trials["hypervolume"] > 0


def test_trials_show_every_reason(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = command("trials")
    assert code == 0
    assert "failed: the worker was killed" in out
    assert "stopped: too large; not trained" in out


def test_pick_satisfies_its_constraints(command: Callable[..., tuple[int, str, str]]) -> None:
    fastest = document(command("pick", "--max-drop", 0.02, "--prefer", "latency_ms", "--json"))
    smallest = document(command("pick", "--max-drop", 0.02, "--prefer", "size_mb", "--json"))
    assert fastest.keys() >= ROW
    assert max(fastest["drop"], smallest["drop"]) <= 0.02
    assert fastest["latency_ms"] <= smallest["latency_ms"]
    assert smallest["size_mb"] <= fastest["size_mb"]
    loose = document(command("pick", "--max-size-mb", 1e6, "--max-drop", 1, "--prefer", "quality", "--json"))
    assert loose["quality"] >= fastest["quality"] - 0.02  # chosen by the expected quality, not by the measured one


def test_pick_prints_a_row_and_the_export_command(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = command("pick", "--prefer", "size_mb")
    trial = document(command("pick", "--prefer", "size_mb", "--json"))["trial"]
    assert code == 0
    assert out.startswith(f"trial {trial}: ")
    assert f"--trial {trial} --to" in out
    assert "next:" not in command("pick", "-q")[1]


def test_pick_explains(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = command("pick", "--prefer", "size_mb", "--explain")
    assert code == 0
    why = document(command("pick", "--prefer", "size_mb", "--explain", "--json"))["explanation"]
    assert (
        f"why: {why['holding']} of {why['complete']} models satisfy the constraints; of these, this is the smallest"
        in out
    )
    for near in why["neighbours"]:
        assert f"alternative: trial {near['trial']}, " in out
    assert "explanation" not in document(command("pick", "--json"))


def test_pick_names_the_nearest_miss(command: Callable[..., tuple[int, str, str]]) -> None:
    answer = command("pick", "--max-latency-ms", 0.01, "--max-drop", 0.02, "--json")
    missed = document(answer, code=3)
    assert missed["trial"] is None
    assert missed["nearest"]["max_latency_ms"].keys() >= ROW
    fastest = min(
        (row for row in document(command("trials", "--json"))["trials"] if row["state"] == "complete"),
        key=lambda row: row["latency_ms"],
    )
    assert missed["nearest"]["max_latency_ms"]["latency_ms"] >= fastest["latency_ms"]
    assert "no trial satisfies max_drop 0.02, max_size_mb 60, max_latency_ms 0.01" in answer[2]
    bound = missed["loosened"]["max_latency_ms"]["bound"]
    assert f"loosen to max_latency_ms {bound:g} (trial " in answer[2]
    assert document(command("pick", "--max-latency-ms", bound, "--max-drop", 0.02, "--json"))["trial"] is not None
    code, out, err = command("pick", "--max-latency-ms", 0.01)
    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 1


def test_a_study_file_names_its_study(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(searched.folder)
    (searched.folder / "studies").mkdir(exist_ok=True)
    assert main(["front", "tiny.yaml", "-q"]) == 0
    assert main(["front", "tiny", "--storage", "sqlite:///tiny/study.db"]) == 0
    assert main(["front", "tiny"]) == 2  # studies/tiny.yaml is not there


def test_recipes_in_json_can_be_read_back(command: Callable[..., tuple[int, str, str]]) -> None:
    for row in document(command("trials", "--json"))["trials"]:
        recipe = Recipe.from_dict(row["recipe"])
        assert recipe.as_dict() == row["recipe"]
