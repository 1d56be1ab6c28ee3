"""Give one trial's model to its user: a folder that deploys by itself, with what is known about it.

The ONNX form is the very artifact that was measured, copied and compared by hash, never built again.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autocompress.actions.export_folder import Exported, Fill, check_target, write_folder
from autocompress.actions.locate import StudyLocation
from autocompress.actions.model_card import CardData
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.stage import digest
from autocompress.core.trial_row import TrialRow
from autocompress.runtimes import read_runtime_name
from autocompress.selection import WORST
from autocompress.storage.artifact_store import Store
from autocompress.storage.checksums import manifest
from autocompress.study.trial_details import read_trial_details

if TYPE_CHECKING:
    from autocompress.config import StudyPlan
    from autocompress.search.display import Display

FORMS = ("onnx", "transformers")
SAME = 1e-4  # of logits: the same weights, run twice


def export_trial(
    located: StudyLocation,
    trial: int,
    to: Path,
    *,
    device: str | None = None,
    form: str = "onnx",
    force: bool = False,
    display: Display,
    offline: bool = False,
) -> Exported:
    """Write the model of a trial into the folder `to`; on the test split it is measured first, if it was not yet.

    `device`: one of the study's, whose runtime the model is to be for.

    UsageError for a trial that is unknown or has no model, and for a folder that must not be written;
    AutocompressError for a model that is gone from the store or was changed there.
    """
    device = None if device == WORST else device
    view = located.view(device)
    row, store = view.row(trial), located.store(view)
    check_trial(row, store)
    check_target(to, force, needed=[store.root])
    if row.test_quality is None:
        row = _tested(located, trial, device, display, offline)
        view = located.view(device)
    if form == "onnx":
        fill = artifact_copier(row, store)
    else:
        plan = located.plan(f"--form {form}")
        if view.recovery is not None:  # fitted to the budget when the study was begun
            plan = plan.model_copy(update={"recovery": type(plan.recovery).model_validate(view.recovery)})
        fill = weights_writer(
            plan, row, store, lambda stage, done: display.stage(0, trial, row.describe(), stage, done)
        )
    details = read_trial_details(located.url, located.name, trial, device)
    return write_folder(CardData(view=view, row=row, details=details, form=form), fill, to, force)


def check_trial(row: TrialRow, store: Store) -> None:
    """Whether a trial has a model to give. UsageError where it has none, AutocompressError where it is gone."""
    if row.state != "complete" or row.sha256 is None:
        why = f" ({row.reason})" if row.reason else ""
        raise UsageError(f"trial {row.trial} has no model: it is {row.state}{why}; choose a complete one")
    if row.quality is None:
        raise UsageError(
            f"trial {row.trial} was not measured on {row.device}, which was out of reach; the same search goes on with that"
        )
    if not store.artifact(row.sha256).is_dir():
        raise AutocompressError(
            f"the model of trial {row.trial} is no longer in {store.root}; choose a trial on the front, whose models are "
            "always kept, or raise artifacts.max_gb and search again under a new study name"
        )


def artifact_copier(row: TrialRow, store: Store) -> Fill:
    """Copies the very artifact of a trial; its hash is compared before and after."""
    assert row.sha256 is not None  # seen by check_trial
    source, sha256 = store.artifact(row.sha256), row.sha256

    def copy(folder: Path) -> None:
        if digest(manifest(source)) != sha256:
            raise AutocompressError(
                f"the model of trial {row.trial} is not what was measured: something changed {source}; delete that "
                "folder and search again under a new study name"
            )
        shutil.copytree(source, folder, dirs_exist_ok=True)
        if digest(manifest(folder)) != sha256:
            raise AutocompressError(
                f"the copy of trial {row.trial} differs from its source; is the disk full or broken?"
            )

    return copy


def weights_writer(plan: StudyPlan, row: TrialRow, store: Store, report_progress: Callable[[str, float], None]) -> Fill:
    """Writes the weights that were recovered for a trial; they must give the outputs of the artifact that was measured.

    Weights that the store has dropped are trained again.
    """
    from transformers.utils import logging

    from autocompress.deployment import deploy, transformers_form
    from autocompress.search import trial_pipeline

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    pairs = plan.task.columns.text_pair is not None

    def write(folder: Path) -> None:
        assert row.sha256 is not None  # seen by check_trial
        life = trial_pipeline.TrialPipeline(plan, store)
        candidate = life.rebuild(row.recipe, row.rung, report_progress)
        report_progress("comparing", 0.0)
        with tempfile.TemporaryDirectory() as place:
            measured = store.artifact(row.sha256)
            deploy.deploy(
                candidate,
                life.context.data.tokenizer,
                pairs,
                read_runtime_name(measured),
                Path(place),
                life.context.data.calibration_inputs,
            )
            _check_same(Path(place), measured, row.trial)
        transformers_form.save_candidate(candidate, life.context.data.tokenizer, pairs, folder)

    return write


def _check_same(rebuilt: Path, measured: Path, trial: int) -> None:
    """Whether two artifacts recorded the same outputs for the same inputs."""
    with np.load(rebuilt / "check.npz") as ours, np.load(measured / "check.npz") as theirs:
        worst = max(
            float(np.abs(ours[name] - theirs[name]).max()) for name in theirs.files if name.startswith("logits")
        )
    if not worst <= SAME:
        raise AutocompressError(
            f"the weights of trial {trial} are not those that were measured (logits differ by {worst:.2g}): they were "
            "dropped from the store, and training again gave others; use --form onnx"
        )


def _tested(located: StudyLocation, trial: int, device: str | None, display: Display, offline: bool) -> TrialRow:
    """The row of a trial, after it was measured on the test split."""
    from autocompress.search.final_evaluation import measure_tests

    plan = located.plan(f"trial {trial} was not measured on the test split yet, which")
    measure_tests(plan, [trial], display=display, offline=offline)
    row = located.view(device).row(trial)
    if row.test_quality is None:
        raise AutocompressError(
            f"trial {trial} could not be measured on the test split; its log is trial-{trial:04d}.log in "
            f"{located.store(located.view()).root / 'logs'}"
        )
    return row
