"""Studies and exports that an earlier version wrote stay readable, and a study goes on where it was left.

`data/stored_studies.tar.gz` holds one database with two studies, their artifacts and stages, an exported folder, and
`expected.json`: what `front`, `trials` and `pick` printed when it was written (schema 0005). Study `one_device` has complete,
failed, duplicate, interrupted, waiting and running trials; `two_devices` was measured on two devices, with amounts of training
that were fitted to its time budget.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress.actions.verify import verify_folder
from autocompress.config import read_plan
from autocompress.deployment import deploy
from autocompress.search.supervisor import run_search
from autocompress.search.trial_pipeline import TrialPipeline
from autocompress.storage.artifact_store import Store
from autocompress.study import StudyView, read_study
from autocompress.study.trial_details import read_trial_details
from autocompress.training import distillation, fine_tuning, least_squares, supernet
from tests.conftest import run_cli
from tests.test_search import Quiet

SHARED_STAGES = ("teacher", "importance", "targets", "supernet")
FINISHED = ("complete", "stopped")


def view_of(folder: Path, study: str) -> StudyView:
    return read_study(f"sqlite:///{folder / 'studies.db'}", study)


def test_reading_commands_print_what_they_printed_when_the_study_was_made(stored: Path) -> None:
    before = (stored / "studies.db").read_bytes()
    for typed, expected in json.loads((stored / "expected.json").read_text()).items():
        done = run_cli(*shlex.split(typed), "--json", cwd=stored, code=3 if expected.get("trial", 0) is None else 0)
        assert_same(json.loads(done.stdout), expected, typed)
    assert (stored / "studies.db").read_bytes() == before  # reading changes nothing


def assert_same(printed: Any, expected: Any, place: str) -> None:
    """Compare JSON; numbers that are computed from stored ones may differ in their last digits on another processor."""
    if isinstance(expected, dict):
        assert printed.keys() >= expected.keys(), place  # later versions may add keys
        for key, value in expected.items():
            assert_same(printed[key], value, f"{place}: {key}")
    elif isinstance(expected, list):
        assert len(printed) == len(expected), place
        for index, value in enumerate(expected):
            assert_same(printed[index], value, f"{place}[{index}]")
    else:
        assert type(printed) is type(expected), place
        assert printed == (pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected), place


def test_an_exported_folder_verifies(stored: Path) -> None:
    verdict = verify_folder(stored / "exported")
    assert verdict.passed, verdict.problems
    assert verdict.inputs > 0


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("trained again")


@pytest.mark.parametrize("study", ["one_device", "two_devices"])
def test_weights_of_finished_trials_are_loaded_and_not_trained_again(
    stored: Path, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in (
        (distillation, "distil"),
        (least_squares, "fit_least_squares"),
        (supernet, "train_supernet"),
        (distillation, "compute_targets"),
        (fine_tuning, "fine_tune"),
    ):
        monkeypatch.setattr(module, name, refuse)
    plan, view = read_plan(stored / f"{study}.yaml"), view_of(stored, study)
    if view.recovery is not None:
        plan = plan.model_copy(update={"recovery": type(plan.recovery).model_validate(view.recovery)})
    store = Store(stored / study / "artifacts")
    pipeline = TrialPipeline(plan, store)
    for row in view.rows:
        if row.state != "complete" or row.trial == 0:
            continue
        candidate = pipeline.rebuild(row.recipe, row.rung, lambda stage, fraction: None)
        assert (candidate.heads, candidate.neurons) == (row.heads, row.neurons)
        assert row.sha256 is not None
        rebuilt = stored / f"rebuilt-{row.trial}"
        rebuilt.mkdir()
        deploy.deploy(
            candidate, pipeline.context.data.tokenizer, pipeline.context.data.interface, "onnxruntime", rebuilt
        )
        with np.load(rebuilt / "check.npz") as now, np.load(store.artifact(row.sha256) / "check.npz") as then:
            # int8 kernels round differently on other processors
            tolerance = 1e-4 if row.recipe["weight_bits"] == 32 else 5e-2
            np.testing.assert_allclose(now["logits_0"], then["logits_0"], atol=tolerance, err_msg=str(row.trial))


def files_of(root: Path, kinds: tuple[str, ...]) -> set[tuple[str, int]]:
    """Kind and inode of each file of some kinds of stages; what is linked under another key stays the same file."""
    paths = [path for kind in kinds for path in (root / "stages" / kind).rglob("*") if path.is_file()]
    return {
        (path.relative_to(root / "stages").parts[0], path.stat().st_ino) for path in paths if path.suffix != ".json"
    }


def test_a_study_goes_on_without_repeating_a_trial_or_a_training(stored: Path) -> None:
    root, before = stored / "one_device" / "artifacts", view_of(stored, "one_device")
    made = files_of(root, SHARED_STAGES)
    display = Quiet()
    run_search(read_plan(stored / "one_device.yaml", ["budget.trials=11"]), display=display, offline=True)
    after = view_of(stored, "one_device")
    now = {row.trial: row for row in after.rows}
    for row in before.rows:
        if row.state in FINISHED:
            assert (now[row.trial].recipe, now[row.trial].sha256, now[row.trial].quality) == (
                row.recipe,
                row.sha256,
                row.quality,
            )
    waiting = {(row.recipe.key, row.rung) for row in before.rows if row.state == "running" or row.trial == 13}
    new = [row for row in after.rows if row.trial > 15]
    retried = {(row.recipe.key, row.rung) for row in after.rows if row.trial in (14, *(row.trial for row in new))}
    assert waiting <= retried  # the running and the interrupted trial were tried again
    assert all(row.state != "running" for row in after.rows)
    done = [row for row in after.rows if row.state in FINISHED and "same candidate" not in (row.reason or "")]
    assert len({(row.recipe.key, row.rung) for row in done}) == len(done)
    assert files_of(root, SHARED_STAGES) == made
    assert "fine-tuning the teacher" not in display.stages
    assert_timed_beside_teacher(stored, before, after)


def assert_timed_beside_teacher(stored: Path, before: StudyView, after: StudyView) -> None:
    """Check that measured rows keep their numbers, and that new trials are timed beside the teacher, as the stored ones."""
    url, old = f"sqlite:///{stored / 'studies.db'}", {row.trial: row for row in before.rows if row.latency_ms}
    measured = {row.trial: row for row in after.rows if row.latency_ms}
    assert measured.keys() > old.keys()
    for trial, row in old.items():
        now = measured[trial]
        assert (now.latency_ms, now.speedup, now.speedup_interval) == (
            row.latency_ms,
            row.speedup,
            row.speedup_interval,
        )
    for trial in measured:
        measurement = read_trial_details(url, "one_device", trial).outcome.measurement
        assert measurement is not None
        assert measurement.conditions["blocks_alternate_with"] == "fp32 teacher artifact, default session"
    assert not (stored / "one_device" / "artifacts" / "stages" / "timing_reference").exists()
