"""The whole road with real parts: a real database, real worker processes, really killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autocompress.config import read_plan
from autocompress.core.composed_speedup import ComposedSpeedup
from autocompress.core.domain import Anatomy
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.measurement import Interval, Quality
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import Outcome, TrialRow
from autocompress.search.executors.child import run_job
from autocompress.search.jobs import Job, Progress, RunSettings
from autocompress.search.plan_check import prepare
from autocompress.search.shared_weights import next_exports
from autocompress.search.supervisor import run_search
from autocompress.space.parsing import resolve_space
from autocompress.study import StudyView, read_study
from autocompress.study.trial_details import read_trial_details
from tests.conftest import Searched
from tests.tiny import tiny_study, write_rows


class Quiet:
    """A display that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.trials: list[int] = []
        self.said: list[str] = []

    def stage(self, worker: int, trial: int, words: str, stage: str, fraction: float) -> None:
        self.stages.append(stage)

    def finished(self, trial: int, recipe: Recipe, outcome: Outcome, words: str) -> None:
        self.trials.append(trial)

    def progress(self, trials: int, of_trials: int | None, seconds: float, of_seconds: float | None) -> None: ...

    def front(self, rows: Sequence[TrialRow], teacher: TrialRow | None) -> None: ...

    def message(self, text: str) -> None:
        self.said.append(text)


def view_of(file: Path) -> StudyView:
    plan = read_plan(file)
    return read_study(plan.storage, plan.study)


def test_a_search_composes_all_speedups_of_the_same_ratio_of_teacher_and_timing_reference(searched: Searched) -> None:
    plan, view = read_plan(searched.file), view_of(searched.file)
    (series,) = (plan.artifacts.path / "teacher_timings").iterdir()
    details = {
        row.trial: read_trial_details(plan.storage, plan.study, row.trial) for row in view.rows if row.latency_ms
    }
    assert len(details) > 1
    composed = [
        ComposedSpeedup.from_conditions(trial.outcome.measurement.conditions if trial.outcome.measurement else {})
        for trial in details.values()
    ]
    (teacher,) = {speedup.teacher for speedup in composed if speedup is not None}
    assert None not in composed
    assert 1 <= teacher.measurements <= len(series.read_text().splitlines())
    for row in view.rows[1:]:
        if row.latency_ms and row.speedup:
            assert row.latency_ms * row.speedup == pytest.approx(view.rows[0].latency_ms)


def test_every_trial_is_told_and_the_front_is_measured_on_test(searched: Searched) -> None:
    view = view_of(searched.file)
    ended = [int(number) for number in re.findall(r"^trial (\d+) (?:complete|stopped)", searched.err, re.MULTILINE)]
    assert ended[0] == 0
    assert [row.trial for row in view.rows] == list(range(len(view.rows)))
    assert len(view.rows) >= 5  # twins, which cost nothing, do not count in the budget
    assert {row.state for row in view.rows} <= {"complete", "stopped"}
    teacher = view.rows[0]
    assert teacher.quality is not None
    assert teacher.quality > 0.9  # the task is learnable, and was learnt
    front = [row for row in view.rows if row.on_front]
    assert front
    assert all(row.test_quality is not None and row.test_drop_interval is not None for row in [teacher, *front])
    assert all(row.speedup and row.size_mb and (row.memory_mb is not None) == (row.rung == 2) for row in front)
    for row in view.rows:
        assert row.state == "complete" or row.reason


@pytest.mark.slow
def test_with_a_super_net_candidates_start_from_it_where_it_is_nearer(tmp_path: Path) -> None:
    file, display = tiny_study(tmp_path, budget={"trials": 2}, engine={"supernet": True}, workers=2), Quiet()
    run_search(read_plan(file), display=display, offline=True)
    assert display.stages.index("super-net") < display.stages.index("building")  # before the first trial
    assert {row.state for row in view_of(file).rows} <= {"complete", "stopped"}
    again = Quiet()
    run_search(read_plan(file, ["budget.trials=3"]), display=again, offline=True)
    plan = read_plan(file)
    assert len(list((plan.artifacts.path / "stages" / "supernet").iterdir())) == 1  # trained once, found by its hash


@pytest.mark.slow
def test_a_study_beside_another_uses_its_teacher_and_super_net(tmp_path: Path) -> None:
    file, display = tiny_study(tmp_path, budget={"trials": 1, "time": "40s"}, recovery={"copies": 1}), Quiet()
    run_search(read_plan(file), display=display, offline=True)
    assert display.stages.index("calibrating") < display.stages.index("super-net")
    fitted = view_of(file).recovery
    assert fitted is not None
    assert fitted["copies"] == 1  # as given
    assert fitted["epochs"] != read_plan(file).recovery.epochs
    again = Quiet()
    run_search(read_plan(file, ["budget.trials=2", "budget.time=80s"]), display=again, offline=True)
    assert view_of(file).recovery == fitted
    assert not {"calibrating", "fine-tuning the teacher"} & set(again.stages)  # computed once, found by hash
    stages = read_plan(file).artifacts.path / "stages"
    assert [len(list((stages / kind).iterdir())) for kind in ("teacher", "targets", "supernet")] == [1, 1, 1]

    # a study beside it uses its teacher and super-net, and gives the time to its trials
    amounts = {"copies": 1, "supernet_epochs": fitted["supernet_epochs"]}  # what a busy machine fits differs too much
    beside = tiny_study(tmp_path, "second", budget={"trials": 1, "time": "40s"}, recovery=amounts)
    other = Quiet()
    run_search(read_plan(beside), display=other, offline=True)
    assert "fine-tuning the teacher" not in other.stages
    assert any("trained already" in line for line in other.said)
    linked = read_plan(beside).artifacts.path / "stages"  # type: ignore[operator]
    for kind, name in {
        "teacher": "model.safetensors",
        "supernet": "model.safetensors",
        "targets": "logits.npy",
    }.items():
        (mine,), (theirs,) = (root.glob(f"{kind}/*/{name}") for root in (linked, stages))
        assert mine.samefile(theirs)


def test_a_study_goes_on_only_with_its_own_data(searched: Searched, tmp_path: Path) -> None:
    file = searched.file
    rows = [{"text": "good fine film", "label": 1}, {"text": "bad dull plot", "label": 0}] * 30
    other = write_rows(tmp_path / "other.csv", rows)
    test = file.parent / "data" / "test.csv"
    kept = test.read_bytes()
    test.write_bytes(other.read_bytes())
    try:
        with pytest.raises(UsageError, match="not those that study 'tiny' was begun with"):
            run_search(read_plan(file, ["budget.trials=9"]), display=Quiet(), offline=True)
    finally:
        test.write_bytes(kept)


def test_kill_minus_nine_of_the_group_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    file = tiny_study(tmp_path, budget={"trials": 4})
    command = [sys.executable, "-m", "autocompress", "search", str(file), "--offline"]
    first = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(file, lambda view: sum(row.state == "complete" for row in view.rows) >= 3)
    time.sleep(0.3)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = {row.trial: row for row in view_of(file).rows if row.state in ("complete", "stopped")}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = view_of(file).rows
    after = {row.trial: row for row in rows}
    for number, row in before.items():
        assert (after[number].sha256, after[number].quality) == (row.sha256, row.quality)
    recipes = [
        row.recipe
        for row in rows
        if row.state in ("complete", "stopped") and "same candidate" not in (row.reason or "")
    ]
    assert len(set(recipes)) == len(recipes) == 5  # the teacher and four
    assert all(row.state != "running" for row in rows)


def wait_for(file: Path, reached: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if reached(view_of(file)):
                return
        except AutocompressError:
            pass  # not created yet
        time.sleep(0.05)
    raise AssertionError(f"not reached within {seconds} s")


def test_ctrl_c_measures_the_finalists_and_ends_with_130(tmp_path: Path) -> None:
    file = tiny_study(tmp_path, budget={"trials": 30})
    command = [sys.executable, "-m", "autocompress", "search", str(file), "--offline"]
    search = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(file, lambda view: sum(row.state == "complete" for row in view.rows) >= 2)
    search.send_signal(signal.SIGINT)
    assert search.wait(90) == 130
    rows = view_of(file).rows
    assert any(row.on_front for row in rows)
    assert all(row.test_quality is not None for row in rows if row.on_front or row.trial == 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"space": {"weight_bits": [8, 3]}},
            r"space.weight_bits: onnxruntime cannot run 3; available: 32, 16, 8, 4, 2",
        ),
        ({"space": {"depth": [7]}}, "depth <= 3, the teacher's layers"),
        ({"space": {"attention": ["sparse"]}}, "onnxruntime cannot run sparse; available: full, linear, local"),
    ],
)
def test_what_the_runtime_or_the_teacher_lacks_is_refused_before_any_work(
    tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    plan = read_plan(tiny_study(tmp_path, **keys))
    with pytest.raises(UsageError, match=message):
        prepare(plan, offline=True)
    assert not (tmp_path / "tiny").exists()


def test_inputs_longer_than_the_model_reads_are_refused(tmp_path: Path) -> None:
    plan = read_plan(tiny_study(tmp_path), ["task.max_tokens=500"])
    with pytest.raises(UsageError, match="got 500, but the model reads at most 66 tokens"):
        prepare(plan, offline=True)


def test_a_decoder_is_refused_by_name(tmp_path: Path) -> None:
    file = tiny_study(tmp_path)
    config = tmp_path / "teacher" / "config.json"
    config.write_text(config.read_text().replace('"bert"', '"gpt2"'))
    with pytest.raises(UsageError, match=r"teacher\.model: 'gpt2' is a decoder; name an encoder"):
        prepare(read_plan(file), offline=True)


def test_fewer_bits_of_the_same_weights_come_next() -> None:
    supported = {"weight_bits": (32, 8, 4, 2), "embedding_bits": (32, 8, 4)}
    spec = {"depth": [2], "weight_bits": [8, 4, 2], "embedding_bits": [8, 4]}
    space = resolve_space(spec, Anatomy(3), supported, "space")
    proposed = next_exports(space, Recipe(depth=2, weight_bits=8, embedding_bits=8))
    assert [(r["weight_bits"], r["embedding_bits"]) for r in proposed] == [(4, 8), (8, 4)]
    proposed = next_exports(space, Recipe(depth=2, weight_bits=4, embedding_bits=4))
    assert [(r["weight_bits"], r["embedding_bits"]) for r in proposed] == [(2, 4), (8, 4), (4, 8)]
    assert next_exports(resolve_space({"depth": [1, 2]}, Anatomy(3), supported, "space"), Recipe(depth=2)) == []


def test_a_chatty_stage_does_not_fill_the_pipe() -> None:
    """A worker whose supervisor looks elsewhere for a while must not wait for it."""
    said: list[Progress] = []

    class Pipe:
        def send(self, word: Progress) -> None:
            said.append(word)

    class Chatty:
        def apply_settings(self, settings: RunSettings) -> None: ...

        def run_test(self, sha256: str, say: Any) -> tuple[Quality, dict[str, Quality]]:
            for step in range(10_000):
                say("teacher outputs", step / 10_000)
            say("deploying", 0.0)
            quality = Quality(
                split="test",
                quality=1.0,
                drop=0.0,
                drop_interval=Interval(low=0.0, high=0.0),
                disagreement=0.0,
                examples=1,
                predictions_sha256="",
            )
            return quality, {}

    done = run_job(Chatty(), Job("test", 1, artifacts={"onnxruntime": "0"}), RunSettings(), Pipe())  # type: ignore[arg-type]  # all it does is send
    assert done.quality is not None
    assert [word.stage for word in said if word.fraction == 0] == ["teacher outputs", "deploying"]
    assert len(said) < 10
