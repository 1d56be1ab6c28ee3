"""The data behind an exported model's `measurement.json` and model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.tasks import Task, load_task

if TYPE_CHECKING:
    from autocompress.core.measurement import Measurement
    from autocompress.core.trial_row import TrialRow
    from autocompress.study import StudyView
    from autocompress.study.trial_details import TrialDetails


@dataclass(frozen=True, kw_only=True)
class CardData:
    """A trial of a study that is exported in a form."""

    view: StudyView
    row: TrialRow
    details: TrialDetails
    form: str = "onnx"

    @property
    def teacher(self) -> str:
        """The teacher's base name: of its folder, or of its name on the hub."""
        return base_name(self.view.plan["teacher"]["model"])

    @property
    def metric(self) -> str:
        """The metric's name, without the path of a user's own module."""
        return base_name(self.view.plan["task"]["metric"])

    @property
    def task(self) -> Task:
        """The study's task."""
        return load_task(self.view.plan["task"]["kind"])

    @property
    def has_pairs(self) -> bool:
        """Whether rows are pairs of texts that the model reads at once."""
        return self.task.has_pairs(self.view.plan["task"]["columns"])

    @property
    def measurement(self) -> Measurement:
        """The measurement of a complete trial."""
        assert self.details.outcome.measurement is not None, "only complete trials are exported"
        return self.details.outcome.measurement


def base_name(text: str) -> str:
    """Return the last part of a path, a hub name or a package's folder; the rest may be private."""
    return Path(text.rstrip("/\\").replace("\\", "/")).name.removesuffix(".py")
