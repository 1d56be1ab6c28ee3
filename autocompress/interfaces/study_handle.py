"""The handle of a study in the Python API: lists, picks and exports its models. Reading imports neither torch nor Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autocompress.actions.locate import StudyLocation
from autocompress.config import StudyPlan, read_plan, storage_url
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces import presenters
from autocompress.interfaces.rendering.progress import SilentDisplay

if TYPE_CHECKING:
    from autocompress.actions.export_folder import Exported
    from autocompress.search.display import Display
    from autocompress.search.supervisor import SearchEnd
    from autocompress.study import StudyView


@dataclass(frozen=True)
class StudyHandle:
    """A study in its database, which is read anew at each call.

    `device` names one of the study's devices, whose numbers count; `all`: each model's worst device; null: the first.
    """

    location: StudyLocation
    end: SearchEnd | None = None  # of the search that returned this handle

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.location.name

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of its database."""
        return self.location.url

    def view(self, device: str | None = None) -> StudyView:
        """Return the whole study as it is now: rows, teacher, objectives, constraints, plan."""
        return self.location.view(device)

    def front(self, device: str | None = None) -> tuple[TrialRow, ...]:
        """Return the models on the Pareto front, by trial number."""
        return self.view(device).front

    def trials(self, device: str | None = None) -> tuple[TrialRow, ...]:
        """Return every trial and the teacher (trial 0), with the reason why one was stopped, failed or not fully trained."""
        return tuple(presenters.rows_with_reasons(self.view(device)))

    def pick(
        self,
        *,
        max_drop: float | None = None,
        max_latency_ms: float | None = None,
        max_size_mb: float | None = None,
        max_download_mb: float | None = None,
        prefer: Literal["quality", "latency_ms", "size_mb", "download_mb", "text_ms"] | None = None,
        device: str | None = None,
    ) -> TrialRow:
        """Return the best trial under the study's constraints, which the given ones replace.

        `max_drop` is a fraction: 0.01 is 1 point. `prefer` optimizes one objective; without it, the knee of the front is
        picked. NothingFits where no trial satisfies the constraints; its message names the nearest misses.
        """
        given = {
            "max_drop": max_drop, "max_latency_ms": max_latency_ms, "max_size_mb": max_size_mb,
            "max_download_mb": max_download_mb,
        }  # fmt: skip
        limits = {name: bound for name, bound in given.items() if bound is not None}
        return presenters.choose(self.view(device), limits, prefer).row

    def export(
        self,
        trial: TrialRow | int,
        to: str | Path,
        *,
        form: Literal["onnx", "transformers"] = "onnx",
        force: bool = False,
        device: str | None = None,
        display: Display | None = None,
        offline: bool = False,
    ) -> Exported:
        """Write the model of a trial as a folder that runs by itself; measure it on the test split first if it was not yet.

        `form` onnx is the measured file; transformers is weights to load with torch. `force` replaces an earlier export in
        the folder, and renames a folder with other files. UsageError for a trial without a model and a folder that must not
        be written.
        """
        from autocompress.actions.export import export_trial

        number = trial.trial if isinstance(trial, TrialRow) else trial
        shown = display or SilentDisplay()
        return export_trial(
            self.location, number, Path(to), device=device, form=form, force=force, display=shown, offline=offline
        )


def search_study(plan: StudyPlan | str | Path, display: Display | None, offline: bool) -> StudyHandle:
    """Run a study to the end of its budget, and return its handle; that of its successor where it is to have one."""
    from autocompress.actions.successor import write_successor
    from autocompress.search.supervisor import run_search

    file = None if isinstance(plan, StudyPlan) else Path(plan)
    if not isinstance(plan, StudyPlan):
        plan = read_plan(plan)
    end = run_search(plan, display=display or SilentDisplay(), offline=offline)
    location = StudyLocation(typed=plan.study, storage=None, url=plan.storage, name=plan.study, given=plan)
    if file is not None and plan.teacher.improve and not end.interrupted:
        successor = write_successor(file, plan, location.view())
        if successor is not None:
            return search_study(successor, display, offline)
    return StudyHandle(location, end)


def open_handle(url: str, name: str, plan: StudyPlan | str | Path | None = None) -> StudyHandle:
    """Return the handle of a study that exists in a database; UsageError where it does not."""
    absolute = storage_url(url, Path.cwd(), "url")
    given = plan if plan is None or isinstance(plan, StudyPlan) else read_plan(plan)
    location = StudyLocation(typed=name, storage=absolute, url=absolute, name=name, given=given)
    location.view()  # raises where it does not exist
    return StudyHandle(location)
