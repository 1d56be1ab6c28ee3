"""Studies that measure on a device with an agent, on several devices, and on a device that is lost for a while."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress import benchmarking
from autocompress.benchmarking.backends import open_backend
from autocompress.config import Device, read_plan
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.cli import main
from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.search import supervisor as searching
from autocompress.search import worker_pool as crews
from autocompress.search.jobs import Job, JobResult
from autocompress.search.plan_check import prepare
from autocompress.search.supervisor import run_search
from autocompress.storage.stage_cache import INPUTS
from autocompress.study import Study, StudyView, read_study
from autocompress.study.trial_details import read_trial_details
from tests.devices import TOKEN, RunningAgent, start_agent
from tests.formula import FormulaExecutor, open_study, outcome_of, plan_in, quality, space, teacher_outcome
from tests.tiny import tiny_study

BITS = {"weight_bits": [8, 4], "embedding_bits": [8]}


@pytest.fixture(scope="module")
def running_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    with start_agent(tmp_path_factory.mktemp("device")) as running:
        yield running


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_TOKEN", TOKEN)


def view_of(file: Path) -> StudyView:
    plan = read_plan(file)
    return read_study(plan.storage, plan.study)


@pytest.mark.slow
def test_a_remote_study_has_the_results_of_a_local_one(running_agent: RunningAgent, tmp_path: Path) -> None:
    views = []
    for name, device in (("local", {}), ("remote", {"url": running_agent.url})):
        folder = tmp_path / name
        folder.mkdir()
        file = tiny_study(folder, space=BITS, budget={"trials": 2}, device={"tokens": "data", "batch": 2, **device})
        run_search(read_plan(file), display=SilentDisplay(), offline=True)
        views.append(view_of(file))
    for local, remote in zip(views[0].rows, views[1].rows, strict=True):
        assert (local.state, local.recipe, local.quality) == (remote.state, remote.recipe, remote.quality)
        assert (local.drop, local.test_quality) == (remote.drop, remote.test_quality)
        assert remote.latency_ms and remote.speedup_interval and remote.memory_mb is not None
    plan = read_plan(tmp_path / "remote" / "tiny.yaml")
    conditions = read_trial_details(plan.storage, plan.study, 1).outcome.measurement.conditions  # type: ignore[union-attr]
    assert conditions["device_lease"] == "one run at a time on the device"
    assert (conditions["tokens"], conditions["batch"]) == ("data", 2)
    assert running_agent.url not in str(conditions)
    assert conditions["outputs_recorded_on"] == benchmarking.machine("onnxruntime")


def test_identity_of_a_study_ignores_the_address_of_its_device(tmp_path: Path) -> None:
    plan = read_plan(tiny_study(tmp_path), ["device.url=http://127.0.0.1:1"])
    assert plan.difference(read_plan(tiny_study(tmp_path)).identity()) == []
    other = read_plan(tiny_study(tmp_path), ["device.threads=2"])
    assert plan.difference(other.identity()) == ["device.threads"]


@pytest.mark.parametrize("url", ["pi:7311", "ftp://pi", "http://", "http://pi/path"])
def test_an_invalid_address_is_rejected_by_the_plan(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=r"device\.url"):
        read_plan(tiny_study(tmp_path), [f"device.url={url}"])


def test_prepare_needs_the_token_of_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOCOMPRESS_TOKEN")
    plan = read_plan(tiny_study(tmp_path), ["device.url=http://127.0.0.1:1"])
    with pytest.raises(UsageError, match=r"device: AUTOCOMPRESS_TOKEN is not set"):
        prepare(plan, offline=True)


@pytest.mark.slow
def test_token_types_reach_the_device(running_agent: RunningAgent, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tiny_study(tmp_path, pairs=True, space=BITS, budget={"trials": 1})
    run_search(read_plan(file), display=SilentDisplay(), offline=True)
    plan = read_plan(file)
    details = read_trial_details(plan.storage, plan.study, 0)
    artifact = plan.artifacts.path / "models" / details.outcome.sha256
    ids = rng.integers(5, 20, (3, 8))
    types = (np.arange(8) >= 4).astype(np.int64)[None].repeat(3, 0)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
    local, remote = (open_backend(device, "device") for device in (Device(), Device(url=running_agent.url)))
    logits = local.run(artifact, [feed], print)
    np.testing.assert_allclose(remote.run(artifact, [feed], print), logits, atol=1e-5)
    without_types = remote.run(artifact, [{**feed, "token_type_ids": 0 * types}], print)
    assert np.abs(without_types - logits).max() > 1e-6


# ---- several devices -------------------------------------------------------------------------------------------------


def test_every_candidate_is_measured_on_every_device(running_agent: RunningAgent, tmp_path: Path) -> None:
    devices = {"laptop": {"tokens": 8}, "pi": {"url": running_agent.url, "tokens": 16, "batch": 2}}
    file = tiny_study(tmp_path, space=BITS, budget={"trials": 2}, device={}, devices=devices)
    plan = read_plan(file)
    assert (plan.device, plan.main_device, list(plan.others)) == (plan.devices["laptop"], "laptop", ["pi"])
    run_search(plan, display=SilentDisplay(), offline=True)
    laptop, pi, every = (read_study(plan.storage, plan.study, name) for name in ("laptop", "pi", "all"))
    assert laptop.devices == pi.devices == ("laptop", "pi")
    assert replace(laptop, device=None) == replace(read_study(plan.storage, plan.study), device=None)
    for view in (laptop, pi, every):
        assert view.front
        assert {row.device for row in view.rows} == {view.device}
        assert all(row.latency_ms and row.quality is not None for row in view.rows)
        assert all(row.test_quality is not None for row in [*view.front, view.rows[0]])
        assert view.reference is not None and view.reference.latency_ms == pytest.approx(
            view.rows[0].latency_ms, rel=0.9
        )
    assert pi.reference is not None and pi.rows[0].latency_ms == pi.reference.latency_ms
    for trial in (1, 2):
        assert every.row(trial).speedup == min(laptop.row(trial).speedup or 0, pi.row(trial).speedup or 0)
        details = read_trial_details(plan.storage, plan.study, trial)
        seen = details.outcome.other_devices["pi"]
        assert (seen.conditions["tokens"], seen.conditions["batch"]) == (16, 2)
        assert seen.latency.speedup == pi.row(trial).speedup
    with pytest.raises(UsageError, match=r"unknown device 'phone'; available: laptop, pi, all"):
        read_study(plan.storage, plan.study, "phone")


@pytest.mark.slow
def test_reading_commands_take_a_device(
    running_agent: RunningAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = {"laptop": {"tokens": 8}, "pi": {"url": running_agent.url, "tokens": 8}}
    file = tiny_study(tmp_path, space=BITS, budget={"trials": 2}, device={}, devices=devices)
    assert main(["search", str(file), "--offline", "--json"]) == 0
    assert {row["device"] for row in json.loads(capsys.readouterr().out)["trials"]} == {"laptop"}
    picked = {}  # on the device's front, so that its outputs on the test split are cached
    for name in ("pi", "all"):
        for command in ("front", "trials"):
            assert main([command, str(file), "--device", name, "--json"]) == 0
            document = json.loads(capsys.readouterr().out)
            assert {row["device"] for row in [document["teacher"], *document["trials"]]} == {name}
        assert main(["pick", str(file), "--device", name, "--max-drop", "1", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["device"] == name
        picked[name] = str(document["trial"])
    assert main(["front", str(file), "--device", "all"]) == 0
    assert "on every device" in capsys.readouterr().out
    assert main(["pick", str(file), "--device", "phone"]) == 2
    assert main(["export", str(file), "--trial", "1", "--max-drop", "1", "--to", str(tmp_path / "x")]) == 2
    assert main(["export", str(file), "--device", "pi", "--max-drop", "1", "--to", str(tmp_path / "x")]) == 0
    assert main(["verify", str(tmp_path / "x")]) == 0
    assert "On laptop (" in (tmp_path / "x" / "README.md").read_text()
    assert json.loads((tmp_path / "x" / "measurement.json").read_text())["elsewhere"].keys() == {"laptop"}
    page = tmp_path / "report.html"
    assert main(["report", str(file), "--device", "pi", "--trial", picked["pi"], "--to", str(page), "-q"]) == 0
    ablations = [
        json.loads(inputs.read_text()) for inputs in tmp_path.glob(f"tiny/artifacts/stages/ablation/*/{INPUTS}")
    ]
    assert [ablation["device"] for ablation in ablations] == ["pi"]
    assert "Effect of each decision" in page.read_text() and "were not kept" not in page.read_text()


def test_duplicate_keeps_the_measurements_of_other_devices(tmp_path: Path) -> None:
    plan = {"devices": {"laptop": {}, "pi": {"url": "http://pi:7311"}}, "device": {}}
    study = open_study(tmp_path, **plan)
    with study.lease():
        outcome = teacher_outcome()
        assert outcome.measurement is not None
        slow = replace(outcome.measurement.latency, p50_ms=90.0, reference_p50_ms=90.0)
        study.record_teacher(replace(outcome, other_devices={"pi": replace(outcome.measurement, latency=slow)}))
        asked = study.ask()
        found = outcome_of(Recipe(depth=2, weight_bits=8, embedding_bits=8))
        assert found.measurement is not None
        study.tell(asked.number, asked.recipe, replace(found, other_devices={"pi": found.measurement}))
        duplicate = study.find_duplicate(asked.recipe)
        assert duplicate is not None
        assert duplicate.other_devices == {"pi": found.measurement}
        study.record_quality(asked.number, quality("test", 0.01), {"pi": quality("test", 0.02)})
        study.record_quality(asked.number, quality("test", 0.01), {"pi": quality("test", 0.03)})
    view = read_study(study.plan.storage, study.name, "pi")
    row = view.row(asked.number)
    assert (row.test_drop, view.rows[0].latency_ms) == (0.03, 90.0)
    assert read_study(study.plan.storage, study.name).row(asked.number).test_drop == 0.01
    assert row.latency_ms == pytest.approx(90.0 / (row.speedup or 0))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"devices": {"pi": {}}, "device": {"threads": 2}}, "tiny.yaml: device and devices cannot both be set"),
        ({"devices": {"all": {}}, "device": {}}, r"devices"),
        ({"devices": {"pi": {"threads": 0}}, "device": {}}, r"threads >= 1"),
        ({"devices": {"pi": {"runtime": "onnx"}}, "device": {}}, r"devices.pi.runtime: unknown runtime 'onnx'"),
    ],
)
def test_invalid_devices_are_rejected_by_the_plan(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_plan(tiny_study(tmp_path, **keys))


def test_identity_of_a_study_includes_its_devices(tmp_path: Path) -> None:
    devices: dict[str, Any] = {"laptop": {}, "pi": {"url": "http://pi:7311"}}
    plan = read_plan(tiny_study(tmp_path, devices=devices, device={}))
    moved = read_plan(tiny_study(tmp_path, devices=devices, device={}), ["devices.pi.url=http://10.0.0.7:7311"])
    assert plan.difference(moved.identity()) == []
    other = read_plan(tiny_study(tmp_path, devices=devices, device={}), ["devices.pi.threads=4"])
    assert plan.difference(other.identity()) == ["devices.pi.threads"]
    assert plan.difference(read_plan(tiny_study(tmp_path, device={})).identity()) != []


# ---- a device that is lost -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_ends_without_its_device_and_continues_when_it_is_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    file = tiny_study(
        tmp_path, space=BITS, budget={"trials": 1}, device={"url": f"http://127.0.0.1:{port}", "patience": "2s"}
    )
    command = [sys.executable, "-m", "autocompress", "search", str(file), "--offline", "--trials"]
    with start_agent(tmp_path / "device", port=port):
        subprocess.run([*command, "1"], check=True, capture_output=True)
    stopped = subprocess.run([*command, "2"], check=False, capture_output=True, text=True)
    assert stopped.returncode == 1
    assert "could not be used for" in stopped.stderr and "is its agent running?" in stopped.stderr
    with start_agent(tmp_path / "device", port=port):
        subprocess.run([*command, "2"], check=True, capture_output=True)
    assert [row.state for row in view_of(file).rows] == ["complete"] * 3


@pytest.mark.slow
def test_a_secondary_device_that_was_unreachable_catches_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    devices = {"laptop": {"tokens": 8}, "pi": {"url": f"http://127.0.0.1:{port}", "tokens": 8, "patience": "1s"}}
    space = {"weight_bits": [16, 8, 4, 2], "embedding_bits": [8]}
    file = tiny_study(tmp_path, space=space, budget={"trials": 1}, device={}, devices=devices)
    command = [sys.executable, "-m", "autocompress", "search", str(file), "--offline", "--trials"]

    def search(trials: int) -> str:
        return subprocess.run([*command, str(trials)], check=True, capture_output=True, text=True).stderr

    def rows(device: str) -> tuple[TrialRow, ...]:
        return read_study(read_plan(file).storage, "tiny", device).rows

    with start_agent(tmp_path / "device", port=port):
        search(1)
    before = len(rows("pi"))
    told = search(2)
    assert "device pi is unreachable; continue the search later to measure its missing trials" in told
    assert all(row.quality is not None for row in rows("laptop"))
    unseen = [row.trial for row in rows("pi") if row.quality is None]
    assert unseen and min(unseen) >= before
    export = ["export", str(file), "--device", "pi", "--trial", str(unseen[0]), "--to", str(tmp_path / "x")]
    assert main(export) == 2
    with start_agent(tmp_path / "device", port=port):
        assert "out of reach" not in search(2)
        assert all(row.quality is not None and row.latency_ms for row in rows("pi"))
        assert all(row.test_quality is not None for row in rows("pi") if row.on_front)
        assert main(export) == 0


def test_other_trials_continue_while_a_device_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class LosingTwo(FormulaExecutor):
        ended = 0

        def run(self, job: Job) -> JobResult:
            said = super().run(job)
            if said.outcome and said.outcome.sha256 != "0" * 64:
                type(self).ended += 1
                if type(self).ended in (3, 4):
                    return JobResult(error="the device http://pi:7311 could not be used for 120 s", is_device_lost=True)
            return said

    monkeypatch.setattr(crews, "LocalExecutor", LosingTwo)
    plan = plan_in(tmp_path, budget={"trials": 8}, engine={"rungs": False})
    study = Study.open(plan, space())
    with study.lease(), crews.open_worker_pool(plan, SilentDisplay(), offline=True) as pool:
        searching.Supervisor(plan, study, space(), pool).run()
    rows = read_study(plan.storage, plan.study).rows
    lost, ended = [row for row in rows if row.state == "failed"], [row for row in rows if row.state != "failed"]
    assert [row.reason for row in lost] == [f"interrupted; tried again as trial {retry(row, ended)}" for row in lost]
    assert lost[0].recipe != lost[1].recipe  # the next one was tried meanwhile
    assert {row.state for row in ended} <= {"complete", "stopped"}


def retry(row: TrialRow, others: Sequence[TrialRow]) -> int:
    """Number of the trial that repeats it."""
    return next(other.trial for other in others if other.recipe == row.recipe)


def test_a_trial_is_retried_after_its_device_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Losing(FormulaExecutor):
        lost = False

        def run(self, job: Job) -> JobResult:
            said = super().run(job)
            if said.outcome and type(self).lost:
                return JobResult(error="the device http://pi:7311 could not be used for 600 s", is_device_lost=True)
            return said

    device = {"url": "http://pi:7311", "patience": 0.3}
    plan = plan_in(tmp_path, budget={"trials": 6}, engine={"rungs": False}, device=device)
    monkeypatch.setattr(crews, "LocalExecutor", Losing)
    for lost in (False, True, False):
        Losing.lost = lost
        trials = 3 if not lost else 5
        study = open_study(tmp_path, budget={"trials": trials}, engine={"rungs": False})
        with study.lease(), crews.open_worker_pool(plan, SilentDisplay(), offline=True) as pool:
            search = searching.Supervisor(plan.model_copy(update={"budget": study.plan.budget}), study, space(), pool)
            if lost:
                with pytest.raises(AutocompressError, match=r"could not be used .* run the same command again"):
                    search.run()
            else:
                search.run()
    rows = read_study(plan.storage, plan.study).rows
    lost_ones = [row for row in rows if row.state == "failed"]
    assert lost_ones
    for row in lost_ones:
        assert "interrupted" in (row.reason or "")
        assert any(other.recipe == row.recipe and other.state != "failed" for other in rows)
