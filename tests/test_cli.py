"""The command line: a search, the commands that read it, their JSON, and what every wrong input ends with."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import typer

from autocompress.actions import doctor
from autocompress.actions.inventory import KINDS
from autocompress.core.errors import AutocompressError
from autocompress.core.measurement import Outcome
from autocompress.core.recipe import DECISIONS, Recipe
from autocompress.interfaces import cli, terminal
from autocompress.interfaces.cli import main
from tests.conftest import ROOT, Searched
from tests.formula import open_study, search, teacher_outcome

ROW = {
    *("trial", "state", "reason", "recipe", "on_front", "seconds", "sha256"),
    *("quality", "drop", "drop_interval", "test_quality", "test_drop", "test_drop_interval"),
    *("latency_ms", "latency_p95_ms", "speedup", "speedup_interval", "size_mb", "compression", "memory_mb"),
    *("cold_ms", "throughput", "start_ms", "ties"),
}
READING = ["front", "trials", "pick"]
HEAVY = {"torch", "optuna", "transformers", "datasets", "onnxruntime", "onnx"}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 18 trials that a formula answered, but one failed and one was stopped; its folder, not to be changed."""
    folder = tmp_path_factory.mktemp("toy")
    study = open_study(folder)
    with study.lease():
        study.record_teacher(teacher_outcome())
        for state, reason in (("failed", "the worker was killed by SIGKILL"), ("stopped", "too large; not trained")):
            asked = study.ask()
            study.tell(asked.number, asked.recipe, Outcome(state=state, reason=reason))
        search(study, 18)
    return folder


@pytest.fixture
def command(toy: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command on the toy study: (exit code, stdout, stderr)."""

    def run(name: str, *options: object) -> tuple[int, str, str]:
        code = main([name, "toy", "--storage", f"sqlite:///{toy / 'study.db'}", *map(str, options)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def document(answer: tuple[int, str, str], code: int = 0) -> dict[str, Any]:
    """The one JSON document of an answer."""
    assert answer[0] == code, answer[2]

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    values: dict[str, Any] = json.loads(answer[1], parse_constant=refuse)
    return values


# ---- a search ------------------------------------------------------------------------------------------------------


def test_a_search_tells_how_it_goes_and_ends_with_the_front(searched: Searched) -> None:
    assert "trial 0 complete" in searched.err
    ended = [line for line in searched.err.splitlines() if re.match(r"trial [1-9]\d* (complete|stopped) in ", line)]
    assert len(ended) == 4
    assert "the search ended: " in searched.err
    assert "teacher, fp32" in searched.out
    assert " test " in searched.out  # finalists were measured on it
    assert "are on the front of study tiny" in searched.out
    assert "Traceback" not in searched.err


def test_the_next_commands_work_as_printed(searched: Searched) -> None:
    printed = [line.strip() for line in searched.out.partition("next:")[2].splitlines() if line.strip()]
    assert [words.split()[-2 if "--to" not in words else -6] for words in printed[:2]] == ["dashboard", "pick"]
    assert "export" in shlex.split(printed[2])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for line in printed[1:]:
        done = subprocess.run(  # the very line that a user would type
            line, shell=True, cwd=searched.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    dashboard = subprocess.Popen(
        [*shlex.split(printed[0]), "--port", "0"],
        cwd=searched.folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert dashboard.stdout is not None
    try:
        address = next(word for word in dashboard.stdout.readline().split() if word.startswith("http://127.0.0.1:"))
        assert urllib.request.urlopen(address, timeout=30).status == 200  # our own server
    finally:
        dashboard.send_signal(signal.SIGTERM)
        assert dashboard.wait(timeout=30) in (0, terminal.INTERRUPTED)
        dashboard.stdout.close()


def test_a_met_budget_ends_at_once_with_json(searched: Searched, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(searched.file), "--json", "-q"]) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["study"] == "tiny"
    assert answer["trials"]
    assert captured.err == ""


def test_an_interrupted_search_prints_the_front_and_ends_with_130(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from autocompress.search import supervisor as search_module

    ending = search_module.SearchEnd("interrupted", interrupted=True, trials=4, seconds=1.0)
    monkeypatch.setattr(search_module, "run_search", lambda plan, *, display, offline: ending)
    assert main(["search", str(searched.file)]) == 130
    captured = capsys.readouterr()
    assert "are on the front" in captured.out and "◆ what pick names" in captured.out
    assert "the same command goes on" in captured.err


def test_options_of_search_become_the_plan(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from autocompress.search import supervisor as search_module

    seen = []

    def remember(plan: Any, *, display: Any, offline: bool) -> None:
        seen.append((plan.budget.trials, plan.budget.time, plan.workers, plan.device.threads, offline))
        raise AutocompressError("enough seen")

    monkeypatch.setattr(search_module, "run_search", remember)
    options = ["--trials", "7", "--time", "2h", "--workers", "3", "--set", "device.threads=2", "--offline"]
    assert main(["search", str(searched.file), *options]) == 1
    assert seen == [(7, 7200.0, 3, 2, True)]


# ---- reading commands ----------------------------------------------------------------------------------------------


def test_reading_imports_nothing_heavy(toy: Path) -> None:
    study = ["toy", "--storage", f"sqlite:///{toy / 'study.db'}"]
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


def test_front_and_trials_are_the_contracts_documents(command: Callable[..., tuple[int, str, str]]) -> None:
    front, trials = (document(command(name, "--json")) for name in ("front", "trials"))
    for answer in (front, trials):
        assert {"study", "teacher", "trials", "hypervolume", "seconds", "format_version"} <= answer.keys()
        assert (answer["study"], answer["format_version"], answer["teacher"]["trial"]) == ("toy", 1, 0)
        for row in [answer["teacher"], *answer["trials"]]:
            assert row.keys() >= ROW
            assert list(row["recipe"]) == list(DECISIONS)
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


def test_pick_holds_its_constraints(command: Callable[..., tuple[int, str, str]]) -> None:
    fastest = document(command("pick", "--max-drop", 0.02, "--prefer", "latency_ms", "--json"))
    smallest = document(command("pick", "--max-drop", 0.02, "--prefer", "size_mb", "--json"))
    assert fastest.keys() >= ROW
    assert max(fastest["drop"], smallest["drop"]) <= 0.02
    assert fastest["latency_ms"] <= smallest["latency_ms"]
    assert smallest["size_mb"] <= fastest["size_mb"]
    loose = document(command("pick", "--max-size-mb", 1e6, "--max-drop", 1, "--prefer", "quality", "--json"))
    assert loose["quality"] >= fastest["quality"] - 0.02  # chosen by what is to be expected, not by luck


def test_pick_prints_a_row_and_the_export(command: Callable[..., tuple[int, str, str]]) -> None:
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
        f"why: of {why['complete']} models, {why['holding']} hold the constraints; of those this is the smallest" in out
    )
    for near in why["neighbours"]:
        assert f"trial {near['trial']} instead: " in out
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
    assert "no trial holds max_drop 0.02, max_size_mb 60, max_latency_ms 0.01" in answer[2]
    bound = missed["loosened"]["max_latency_ms"]["bound"]
    assert f"enough would be max_latency_ms {bound:g} (trial " in answer[2]
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


# ---- how commands end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["front"], "Missing argument 'STUDY'"),
        (["frnt", "x"], "No such command 'frnt'"),
        (["front", "x", "--bogus"], "No such option: --bogus"),
        (["front", "x"], "there is no studies/x.yaml, and no --storage to look in"),
        (["front", "./x.yaml"], "x.yaml: no such study file"),
        (["front", "x", "--storage", "sqlite:///none.db"], "there is no database at"),
        (["front", "x", "--storage", "none.db"], "an SQLAlchemy URL is needed"),
        (["search", "x"], "no such study file"),
        (["search", "x", "--trials", "0"], "'--trials'"),
        (["search", "x", "--time", "soon"], "--time: a time like 90s, 30m or 2h is needed, but got 'soon'"),
        (["pick", "x", "--prefer", "speed"], "'speed'"),
        (["pick", "x", "--max-drop", "-1"], "'--max-drop'"),
        (["list", "things"], "unknown kind 'things'; available: techniques, attentions"),
        (["verify", "nowhere"], "nowhere: there is no such folder"),
        (["measure", "nowhere"], "nowhere: there is no such folder"),
        (["measure", "."], "there is no model.onnx"),
        (["dashboard"], "no study in ./studies was begun yet"),
        (["export", "x"], "--to"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert sentence in errors[0]
    assert "Traceback" not in captured.err
    assert not list(tmp_path.iterdir())  # nothing was made on the way


def test_an_unknown_trial_is_wrong_usage(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = command("export", "--trial", 999, "--to", tmp_path / "model")
    assert code == 2
    assert "no trial 999; available: 0 to" in err
    code, _, err = command("export", "--trial", 1, "--max-drop", 0.1, "--to", tmp_path / "model")
    assert code == 2
    assert "leave out the constraints" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [(AutocompressError("it broke"), 1), (KeyboardInterrupt(), 130), (ZeroDivisionError("by zero"), 1)],
)
def test_errors_are_one_line_unless_debug(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from autocompress.actions import inventory

    def fail(kind: str) -> None:
        raise error

    monkeypatch.setattr(inventory, "inventory", fail)
    assert main(["list"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert str(error) in captured.err
    if code == 1:
        assert main(["list", "--debug"]) == code
        assert "Traceback" in capsys.readouterr().err


def test_sigterm_ends_like_ctrl_c() -> None:
    program = (
        "import os, signal, sys\nfrom autocompress.actions import inventory\nfrom autocompress.interfaces.cli import main\n"
        "inventory.inventory = lambda kind: os.kill(os.getpid(), signal.SIGTERM)\nsys.exit(main(['list']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "error: interrupted\n"


def test_doctor_says_what_is_there_and_what_would_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find, old = doctor.importlib.util.find_spec, doctor.fingerprint()
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    monkeypatch.setattr(doctor, "fingerprint", lambda: old | {"cpu_flags": ["avx2"], "governor": "powersave"})
    assert main(["doctor", "--json"]) == 0
    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert found["processor"]["good"] and old["cpu"] in found["processor"]["found"]
    assert found["extra search"]["found"] == "torch not installed"
    assert "pip install 'autocompress[search]'" in found["extra search"]["advice"]
    assert not found["8-bit arithmetic"]["good"] and not found["clock"]["good"]
    assert all((one["advice"] is None) is one["good"] for one in found.values())
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "! extra search" in printed and "✓ processor" in printed


def test_every_command_has_the_common_options() -> None:
    group = typer.main.get_command(cli.app)
    commands = dict(group.commands)  # type: ignore[attr-defined]  # it is a group
    commands["storage upgrade"] = commands.pop("storage").commands["upgrade"]
    assert set(commands) == {
        *("init", "search", "front", "trials", "pick", "compare", "reproduce", "report"),
        *("export", "dashboard", "clean", "storage upgrade"),
        *("verify", "measure", "agent", "list", "doctor"),
    }
    for name, entry in commands.items():
        options = {option for parameter in entry.params for option in parameter.opts}
        assert {"-v", "-q", "--debug", "--no-color"} <= options, name
        assert ("--json" in options) is (name not in ("agent", "dashboard", "init")), name  # they serve, or write
        takes_study = any(parameter.name in ("study", "a") for parameter in entry.params)
        assert ("--storage" in options) is takes_study, name
        assert entry.help, name


def test_numbers_that_json_lacks_are_null() -> None:
    values = {"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": (-float("inf"),)}}
    assert terminal.finite(values) == {"a": None, "b": [None, 1.5], "c": {"d": [None]}}


def test_colour_only_where_it_is_wanted(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in command("front")[1]
    assert "\x1b[3" not in command("front", "--no-color")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in command("front")[1]
    assert "\x1b[" not in command("front", "--json")[1]


# ---- list and clean ------------------------------------------------------------------------------------------------


def test_list_has_a_line_for_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(KINDS)
    assert [entry["name"] for entry in found["techniques"]] == list(DECISIONS)
    assert [entry["name"] for entry in found["tasks"]] == ["text-classification"]
    assert {entry["name"] for entry in found["spaces"]} >= {"encoder", "quickstart"}
    for entries in found.values():
        for entry in entries:
            assert entry["summary"]
            assert sum(entry["summary"] in line and entry["name"] in line for line in lines) >= 1
    here = {entry["name"]: entry["here"] for entry in found["techniques"]}
    assert "32, 16, 8" in here["weight_bits"]


def test_clean_frees_what_the_front_does_not_need(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert {folder.name for folder in models.iterdir()} == everything  # said, not done
    assert clean("--yes")["removed"] is True
    assert {folder.name for folder in models.iterdir()} == kept
    assert stage.is_dir()
    assert clean("--cache", "--yes")["studies"][0]["folders"] == 1
    assert not stage.exists()
    assert {folder.name for folder in models.iterdir()} == kept


def test_a_command_line_can_be_copied() -> None:
    line = terminal.command_line(["front", "my study.yaml"])
    words = shlex.split(line)
    assert words[-2:] == ["front", "my study.yaml"]
    assert Path(words[0]).is_file() or words[0] == "autocompress"


def test_recipes_of_rows_are_recipes(command: Callable[..., tuple[int, str, str]]) -> None:
    for row in document(command("trials", "--json"))["trials"]:
        recipe = Recipe.from_dict(row["recipe"])
        assert replace(recipe) == recipe
