"""The command line: a search, common options, and the message and exit code of every wrong input."""

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
from pathlib import Path
from typing import Any

import pytest
import typer

from autocompress.core.errors import AutocompressError
from autocompress.interfaces import cli, terminal
from autocompress.interfaces.cli import main
from tests.conftest import ROOT, Searched

pytest_plugins = ["tests.toy_commands"]


def test_search_prints_progress_and_the_front(searched: Searched) -> None:
    assert "trial 0 complete" in searched.err
    ended = [line for line in searched.err.splitlines() if re.match(r"trial [1-9]\d* (complete|stopped) in ", line)]
    assert len(ended) == 4
    assert "the search ended: " in searched.err
    assert "teacher, fp32" in searched.out
    assert " test " in searched.out  # finalists were measured on it
    assert "the front of study tiny holds " in searched.out
    assert "Traceback" not in searched.err


def test_printed_commands_work(searched: Searched) -> None:
    printed = [line.strip() for line in searched.out.partition("next:")[2].splitlines() if line.strip()]
    assert [line.split()[-2 if "--to" not in line else -6] for line in printed[:2]] == ["dashboard", "pick"]
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
        assert urllib.request.urlopen(address, timeout=30).status == 200
    finally:
        dashboard.send_signal(signal.SIGTERM)
        assert dashboard.wait(timeout=30) in (0, terminal.INTERRUPTED)
        dashboard.stdout.close()


def test_search_with_a_met_budget_ends_at_once(searched: Searched, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(searched.file), "--json", "-q"]) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["study"] == "tiny"
    assert answer["trials"]
    assert captured.err == ""


def test_interrupted_search_prints_the_front_and_exits_with_130(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from autocompress.search import supervisor as search_module

    ending = search_module.SearchEnd("interrupted", interrupted=True, trials=4, seconds=1.0)
    monkeypatch.setattr(search_module, "run_search", lambda plan, *, display, offline: ending)
    assert main(["search", str(searched.file)]) == 130
    captured = capsys.readouterr()
    assert "the front of study tiny holds " in captured.out and "◆ the knee, trial " in captured.out
    assert "the same command continues the search" in captured.err


def test_search_options_override_the_plan(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from autocompress.search import supervisor as search_module

    plans = []

    def remember(plan: Any, *, display: Any, offline: bool) -> None:
        plans.append((plan.budget.trials, plan.budget.time, plan.workers, plan.device.threads, offline))
        raise AutocompressError("enough seen")

    monkeypatch.setattr(search_module, "run_search", remember)
    options = ["--trials", "7", "--time", "2h", "--workers", "3", "--set", "device.threads=2", "--offline"]
    assert main(["search", str(searched.file), *options]) == 1
    assert plans == [(7, 7200.0, 3, 2, True)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["front"], "Missing argument 'STUDY'"),
        (["frnt", "x"], "No such command 'frnt'"),
        (["front", "x", "--bogus"], "No such option: --bogus"),
        (["front", "x"], "there is no studies/x.yaml, and no --storage to look in"),
        (["front", "./x.yaml"], "x.yaml: no such study file"),
        (["front", "x", "--storage", "sqlite:///none.db"], "no database at"),
        (["front", "x", "--storage", "none.db"], "an SQLAlchemy URL is needed"),
        (["search", "x"], "no such study file"),
        (["search", "x", "--trials", "0"], "'--trials'"),
        (["search", "x", "--time", "soon"], "--time: a time like 90s, 30m or 2h is needed, but got 'soon'"),
        (["pick", "x", "--prefer", "speed"], "'speed'"),
        (["pick", "x", "--max-drop", "-1"], "'--max-drop'"),
        (["list", "things"], "unknown kind 'things'; available: techniques, attentions"),
        (["verify", "nowhere"], "nowhere: no such folder"),
        (["measure", "nowhere"], "nowhere: no such folder"),
        (["measure", "."], "no file model.onnx"),
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
    assert not list(tmp_path.iterdir())  # no file was written


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

    monkeypatch.setattr(inventory, "list_entries", fail)
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
        "inventory.list_entries = lambda kind: os.kill(os.getpid(), signal.SIGTERM)\nsys.exit(main(['list']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "error: interrupted\n"


def test_every_command_has_the_common_options() -> None:
    group = typer.main.get_command(cli.app)
    commands = dict(group.commands)  # type: ignore[attr-defined]  # it is a group
    commands["storage upgrade"] = commands.pop("storage").commands["upgrade"]
    assert set(commands) == {
        *("init", "search", "front", "trials", "pick", "compare", "refresh", "reproduce", "report"),
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


def test_finite_replaces_nan_and_infinity_by_null() -> None:
    values = {"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": (-float("inf"),)}}
    assert terminal.finite(values) == {"a": None, "b": [None, 1.5], "c": {"d": [None]}}


def test_colour_follows_option_and_environment(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in command("front")[1]
    assert "\x1b[3" not in command("front", "--no-color")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in command("front")[1]
    assert "\x1b[" not in command("front", "--json")[1]


def test_command_line_quotes_its_arguments() -> None:
    line = terminal.command_line(["front", "my study.yaml"])
    parts = shlex.split(line)
    assert parts[-2:] == ["front", "my study.yaml"]
    assert Path(parts[0]).is_file() or parts[0] == "autocompress"
