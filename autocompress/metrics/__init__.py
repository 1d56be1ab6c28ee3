"""Metrics, one `evaluate` module per file; higher is better. They are part of the package, since the hub may be offline.

A file defines a class derived from `evaluate.Metric`, whose first result is the score, and the function
`compute(predictions, references) -> float` that the class calls, fast enough for a bootstrap. A file imports nothing of this
package, because `evaluate.load` runs a copy of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autocompress.core import registry
from autocompress.core.errors import UsageError, unknown

Score = Callable[[NDArray[np.int64], NDArray[np.int64]], float]


def score(name: str, predictions: ArrayLike, references: ArrayLike, trust_remote_code: bool = False) -> float:
    """Return the score of predictions by the metric's `evaluate` module; labels are integers `(examples,)`.

    `name` is a file of this folder, the path of a module (FILE.py, or a folder NAME with NAME.py in it), or, with
    `trust_remote_code`, a name on the hub. Raises UsageError for any other name, for a module that cannot be loaded, and for
    labels that cannot be scored.
    """
    module = _load_module(name, trust_remote_code)
    try:
        results = module.compute(predictions=np.asarray(predictions), references=np.asarray(references))
    except ValueError as error:
        raise UsageError(f"metric {name!r}: {error}") from error
    return float(next(iter(results.values())))


def score_function(name: str, trust_remote_code: bool = False) -> Score:
    """Return a function that computes the score from integer arrays in microseconds, for thousands of resamples.

    For a module on the hub, or one without a function `compute`, it calls the whole module, which takes milliseconds.
    """
    source = sys.modules[type(_load_module(name, trust_remote_code)).__module__]
    compute: Score | None = getattr(source, "compute", None) if _find_file(name) else None
    return compute or (lambda predictions, references: score(name, predictions, references, trust_remote_code))


@cache
def _load_module(name: str, trust_remote_code: bool) -> Any:
    """Load an `evaluate` module once per process; it keeps its results in memory, so that scoring writes no files."""
    path = _find_file(name)
    if path is None and not trust_remote_code:
        raise unknown("metric", name, [*registry.names("metrics"), "or a path: FILE.py, or a folder NAME with NAME.py"])
    import evaluate
    from huggingface_hub.constants import is_offline_mode

    evaluate.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # its download counter is telemetry
    evaluate.config.HF_EVALUATE_OFFLINE |= is_offline_mode()  # evaluate has its own switch
    try:
        return evaluate.load(name if path is None else str(path), keep_in_memory=True)
    except (ImportError, OSError) as error:
        raise UsageError(f"metric {name!r} cannot be loaded: {error}") from error


def _find_file(name: str) -> Path | None:
    """Return the file of a metric: the package's first, then the path's; null if there is neither."""
    if name in registry.names("metrics"):
        return Path(__file__).parent / f"{name}.py"
    absolute = Path(name).expanduser().resolve()
    candidates = (absolute, absolute / f"{absolute.name}.py")
    return next((path for path in candidates if path.suffix == ".py" and path.is_file()), None)
