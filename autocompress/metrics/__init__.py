"""Metrics, one `evaluate` module per file; higher is better. They travel in the package: the hub may be out of reach.

What a file offers: a class derived from `evaluate.Metric`, whose first result is the score, and the plain function
`compute(predictions, references) -> float` that the class calls, fast enough for a bootstrap. A file stands alone,
without relative imports, because `evaluate.load` runs a copy of it.
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
    """The one number of a metric, through its `evaluate` module; labels are integers `(examples,)`.

    `name` is a file of this folder, the path of a module (FILE.py, or a folder NAME with NAME.py in it), or, if the
    user trusts remote code, a name on the hub. Raises UsageError for any other name, for a module that cannot be
    loaded, and for labels that cannot be scored.
    """
    module = _module(name, trust_remote_code)
    try:
        results = module.compute(predictions=np.asarray(predictions), references=np.asarray(references))
    except ValueError as error:
        raise UsageError(f"metric {name!r}: {error}") from error
    return float(next(iter(results.values())))


def fast(name: str, trust_remote_code: bool = False) -> Score:
    """The same number from integer arrays, without the module's bookkeeping: microseconds, for thousands of resamples.

    A module of the hub, or one that has no function `compute`, is called as a whole, which takes milliseconds.
    """
    source = sys.modules[type(_module(name, trust_remote_code)).__module__]
    plain: Score | None = getattr(source, "compute", None) if _path(name) else None
    return plain or (lambda predictions, references: score(name, predictions, references, trust_remote_code))


@cache
def _module(name: str, trust_remote_code: bool) -> Any:
    """The loaded `evaluate` module, once per process; in memory, so that scoring writes no files."""
    path = _path(name)
    if path is None and not trust_remote_code:
        raise unknown("metric", name, [*registry.names("metrics"), "or a path: FILE.py, or a folder NAME with NAME.py"])
    import evaluate
    from huggingface_hub.constants import is_offline_mode

    evaluate.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # its download counter is telemetry
    evaluate.config.HF_EVALUATE_OFFLINE |= is_offline_mode()  # it has a switch of its own for this
    try:
        return evaluate.load(name if path is None else str(path), keep_in_memory=True)
    except (ImportError, OSError) as error:
        raise UsageError(f"metric {name!r} cannot be loaded: {error}") from error


def _path(name: str) -> Path | None:
    """The module's file: the package's own first, then what the path holds; None if neither."""
    if name in registry.names("metrics"):
        return Path(__file__).parent / f"{name}.py"
    given = Path(name).expanduser().resolve()
    candidates = (given, given / f"{given.name}.py")
    return next((path for path in candidates if path.suffix == ".py" and path.is_file()), None)
