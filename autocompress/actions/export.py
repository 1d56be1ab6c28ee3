"""Export one trial's model as a folder that runs by itself, with its measurement and a model card.

The ONNX form is a copy of the measured artifact, compared by hash; it is never built again.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autocompress.actions.card_data import CardData
from autocompress.actions.export_folder import Exported, WriteModel, check_target, write_folder
from autocompress.actions.locate import StudyLocation
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.stage import digest
from autocompress.core.trial_row import TrialRow
from autocompress.runtimes import read_runtime_name
from autocompress.selection import WORST
from autocompress.storage.artifact_store import ArtifactStore, Store
from autocompress.storage.checksums import manifest
from autocompress.study.trial_details import read_trial_details

if TYPE_CHECKING:
    from autocompress.config import StudyPlan
    from autocompress.models.candidate import Candidate
    from autocompress.search.display import Display
    from autocompress.search.trial_pipeline import TrialPipeline
    from autocompress.study import StudyView

OUTPUT_TOLERANCE = 1e-4  # between two runs of the same weights


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
    """Write the model of a trial into the folder `to`; measure it on the test split first if it was not yet.

    `device` names one of the study's devices; the model is exported for that device's runtime.

    Raises UsageError for an unknown trial, a trial without a model, and a folder that must not be written;
    AutocompressError for a model that was removed from the store or changed there.
    """
    device = None if device == WORST else device
    view = located.view(device)
    row, store = view.row(trial), located.store(view)
    check_trial(row, store)
    check_target(to, force, needed=[store.root])
    if row.test_quality is None:
        row = _measure_on_test(located, trial, device, display, offline)
        view = located.view(device)
    if form == "onnx":
        write_model = artifact_copier(row, store)
    else:
        plan, description = plan_of_training(located, view, f"--form {form}"), row.describe()
        write_model = weights_writer(
            plan, row, store, lambda stage, done: display.stage(0, trial, description, stage, done)
        )
    details = read_trial_details(located.url, located.name, trial, device)
    return write_folder(CardData(view=view, row=row, details=details, form=form), write_model, to, force)


def check_trial(row: TrialRow, store: ArtifactStore) -> None:
    """Check that a trial has a model. Raises UsageError if it never had one, AutocompressError if it was removed."""
    if row.state != "complete" or row.sha256 is None:
        reason = f" ({row.reason})" if row.reason else ""
        raise UsageError(f"trial {row.trial} has no model: its state is {row.state}{reason}; choose a complete trial")
    if row.quality is None:
        raise UsageError(
            f"trial {row.trial} was not measured on {row.device}, which was unreachable; run the search again to "
            "measure it there"
        )
    if not store.has_artifact(row.sha256):
        raise AutocompressError(
            f"the model of trial {row.trial} was removed from the artifacts; choose a trial on the front, whose models are "
            "always kept, or raise artifacts.max_gb and search again under a new study name"
        )


def artifact_copier(row: TrialRow, store: ArtifactStore) -> WriteModel:
    """Return a function that copies the measured artifact of a trial and checks its hash before and after."""
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
                f"the copy of trial {row.trial} differs from its source {source}; check that the disk is neither full "
                "nor broken"
            )

    return copy


def weights_writer(
    plan: StudyPlan, row: TrialRow, store: Store, report_progress: Callable[[str, float], None]
) -> WriteModel:
    """Return a function that writes the trained weights of a trial in the transformers form."""
    from autocompress.deployment import transformers_form

    def write(folder: Path) -> None:
        pipeline, candidate = rebuild_measured(plan, row, store, report_progress)
        data = pipeline.context.data_for(candidate.recipe)
        transformers_form.save_candidate(candidate, data.tokenizer, data.interface, folder)

    return write


def rebuild_measured(
    plan: StudyPlan, row: TrialRow, store: Store, report_progress: Callable[[str, float], None]
) -> tuple[TrialPipeline, Candidate]:
    """Return the candidate of a trial with its trained weights, and the pipeline that rebuilt it.

    The weights must give the outputs of the measured artifact (else AutocompressError). Weights that the store has dropped are
    trained again.
    """
    from transformers.utils import logging

    from autocompress.search import trial_pipeline

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    assert row.sha256 is not None  # seen by check_trial
    pipeline = trial_pipeline.TrialPipeline(plan, store)
    candidate = pipeline.rebuild(row.recipe, row.rung, report_progress)
    report_progress("comparing", 0.0)
    measured = store.artifact(row.sha256)
    with tempfile.TemporaryDirectory() as temporary:
        rebuilt = Path(temporary)
        pipeline.write_artifact(candidate, rebuilt, read_runtime_name(measured))
        _check_same_outputs(rebuilt, measured, pipeline.context.data_for(candidate.recipe).interface.output, row.trial)
    return pipeline, candidate


def plan_of_training(located: StudyLocation, view: StudyView, purpose: str) -> StudyPlan:
    """Return the study's plan with the training settings that were fitted to its time budget; `purpose` as in `plan`."""
    plan = located.plan(purpose)
    if view.recovery is None:
        return plan
    return plan.model_copy(update={"recovery": type(plan.recovery).model_validate(view.recovery)})


def _check_same_outputs(rebuilt: Path, measured: Path, output: str, trial: int) -> None:
    """Check that two artifacts recorded the same outputs for the same inputs."""
    with np.load(rebuilt / "check.npz") as rebuilt_outputs, np.load(measured / "check.npz") as outputs:
        largest = max(
            float(np.abs(rebuilt_outputs[name] - outputs[name]).max())
            for name in outputs.files
            if name.startswith(f"{output}_")
        )
    if not largest <= OUTPUT_TOLERANCE:
        raise AutocompressError(
            f"the weights of trial {trial} are not those that were measured ({output} differ by {largest:.2g}): they were "
            "dropped from the store, and training again gave different weights; use --form onnx"
        )


def _measure_on_test(
    located: StudyLocation, trial: int, device: str | None, display: Display, offline: bool
) -> TrialRow:
    """Measure a trial on the test split; return its row with the result."""
    from autocompress.search.final_evaluation import measure_tests

    plan = located.plan(f"measuring trial {trial} on the test split")
    measure_tests(plan, [trial], display=display, offline=offline)
    row = located.view(device).row(trial)
    if row.test_quality is None:
        raise AutocompressError(
            f"trial {trial} could not be measured on the test split; see trial-{trial:04d}.log in "
            f"{located.store(located.view()).root / 'logs'}"
        )
    return row
