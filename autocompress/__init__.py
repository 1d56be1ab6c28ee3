"""Compress a fine-tuned encoder into a Pareto front of smaller, faster models, each deployed and measured.

The Python API: `search` runs a study, `open_study` reads one; both return a handle that lists, picks and exports models.
`measure` times an exported folder, `load_model` opens one in transformers. The command line does the same and more:
`autocompress --help`. Importing this module, and reading a study, imports neither torch nor Optuna.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.core.errors import AutocompressError, NothingFits, UsageError
from autocompress.core.trial_row import TrialRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from autocompress.actions.measure_folder import FolderMeasurement
    from autocompress.config import Device, StudyPlan
    from autocompress.interfaces.study_handle import StudyHandle
    from autocompress.search.display import Display

__version__ = "0.1.0"
__all__ = [
    "AutocompressError",
    "NothingFits",
    "TrialRow",
    "UsageError",
    "__version__",
    "load_model",
    "measure",
    "open_study",
    "read_plan",
    "search",
]

import_module("autocompress.search")  # a later first import of this subpackage would replace the function `search`


def read_plan(path: str | Path, overrides: Sequence[str] = (), *, trust_remote_code: bool = False) -> StudyPlan:
    """Return the plan in a study file, checked as far as possible without loading the model or the data.

    `overrides` are `key.path=value`, as after `--set` on the command line. UsageError names the place of a mistake.
    """
    from autocompress.config import read_plan

    return read_plan(path, overrides, trust_remote_code=trust_remote_code)


def search(plan: StudyPlan | str | Path, *, display: Display | None = None, offline: bool = False) -> StudyHandle:
    """Run a study, or continue it, to the end of its budget; return its handle, whose `end` says why the search ended.

    `plan` is a plan or the path of a study file. Nothing is printed unless `display` shows the progress. `offline` allows no
    network. Ctrl-C ends the search cleanly, and the same call continues it. Where the file says `teacher: {improve: true}` and
    the teacher proves weak, the handle is that of the successor. UsageError for a mistake in the plan.
    """
    from autocompress.interfaces.study_handle import search_study

    return search_study(plan, display, offline)


def open_study(url: str, name: str, *, plan: StudyPlan | str | Path | None = None) -> StudyHandle:
    """Return the handle of a study in a database; it reads the study anew at each call, also while a search runs.

    `url` is an SQLAlchemy URL, for example `sqlite:///sst2/study.db`. `plan`, the plan or the study file, is needed only to
    export models that were not measured on the test split, to export weights, and where a server holds the database.
    UsageError where there is no such study.
    """
    from autocompress.interfaces.study_handle import open_handle

    return open_handle(url, name, plan)


def measure(
    folder: str | Path,
    reference: str | Path | None = None,
    *,
    threads: int | None = None,
    batch: int | None = None,
    tokens: int | None = None,
    device: Device | str | None = None,
) -> FolderMeasurement:
    """Measure latency (ms), size (MB) and memory of an exported folder, in blocks that alternate with those of `reference`.

    `threads`, texts per call (`batch`) and `tokens` per text default to those of the first measurement. `device` is an agent
    or its address; without one this machine measures. UsageError where a folder is not an export in the form `onnx`.
    """
    from autocompress.actions.measure_folder import measure_folder
    from autocompress.config import Device

    settings = Device(url=device) if isinstance(device, str) else device
    against = None if reference is None else Path(reference)
    return measure_folder(Path(folder), against, threads, batch, tokens, device=settings)


def load_model(folder: str | Path) -> PreTrainedModel:
    """Load the transformers model from a folder that `export --form transformers` wrote."""
    from autocompress.models.transformers_form import load_model as load  # imports transformers

    model: PreTrainedModel = load(folder)
    return model
