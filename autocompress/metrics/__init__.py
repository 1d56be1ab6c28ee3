"""Metrics, one per file. They are part of the package, since the hub may be offline.

A file exports `METRIC`: what it compares, its range and direction, `compute`, and counts that add up over rows, from which
a bootstrap gets thousands of scores at once. `evaluate.load` runs a copy of the file, and only the copy defines an `evaluate`
module: the file itself imports neither `evaluate` nor torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike

from autocompress.core.errors import UsageError, unknown
from autocompress.core.registry import Registry

if TYPE_CHECKING:
    import evaluate

Score = Callable[[np.ndarray, np.ndarray], float]  # predictions and references, both (rows, …)
Counts = Callable[[np.ndarray, np.ndarray], np.ndarray]  # the same -> (rows, k)
Columns = np.ndarray | list[list[object]]  # (rows, …), or the values of each row
FromCounts = Callable[[np.ndarray], np.ndarray]  # sums of counts (…, k) -> scores (…,)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of quality. Entry i of predictions and references belongs to row i of a split.

    `counts` of some rows add up to numbers from which `from_counts` computes the score of these rows together. Both are null
    for a metric that must be computed anew for every selection of rows.
    """

    name: str
    reads: tuple[str, ...]  # kinds of predictions, as tasks' `predicts`: labels, numbers, …; empty: any
    compute: Score  # ValueError where arrays cannot be scored
    lowest: float = 0.0
    highest: float = 1.0
    higher_is_better: bool = True
    point: float = 0.01  # the difference of scores that counts as one point of quality
    counts: Counts | None = None
    from_counts: FromCounts | None = None
    value_type: str = "int64"  # of a prediction, in the words of `datasets`
    is_sequence: bool = False  # whether the prediction of a row is a list of values: arrays (rows,) of tuples
    objection: Callable[[Sequence[str]], str | None] | None = (
        None  # why labels of these names cannot be scored, or null
    )

    @property
    def quality_factor(self) -> float:
        """What a score is multiplied by to give a quality: more is better, and 0.01 is one point."""
        return (1 if self.higher_is_better else -1) * 0.01 / self.point


METRICS = Registry("metrics", "METRIC", Metric)


class _Computes(Protocol):
    """An `evaluate` module, of which one method is used."""

    def compute(self, *, predictions: Columns, references: Columns) -> dict[str, float]: ...


def load_metric(name: str, trust_remote_code: bool = False) -> Metric:
    """Load a metric by the name of its file in this folder, or any `evaluate` module.

    `name` is a file of this folder, the path of a module (FILE.py, or a folder NAME with NAME.py in it), or, with
    `trust_remote_code`, a name on the hub. A user's file may export `METRIC`, or a function `compute`, too; otherwise every
    score calls the whole module, which takes milliseconds. UsageError for any other name, and for a module that cannot be
    loaded.
    """
    if name in METRICS.names():
        return METRICS.load(name)
    module = _load_module(name, trust_remote_code)
    source = sys.modules[type(module).__module__]
    own = getattr(source, "METRIC", None)
    if isinstance(own, Metric):
        return own
    compute = getattr(source, "compute", None) if _find_file(name) else None
    if callable(compute):
        return Metric(name=name, reads=(), compute=compute)
    return Metric(name=name, reads=(), compute=lambda *arrays: _score_by(module, name, *arrays))


def score(name: str, predictions: ArrayLike, references: ArrayLike, trust_remote_code: bool = False) -> float:
    """Return the score of predictions by the metric's `evaluate` module.

    Raises the errors of `load_metric`, and UsageError for arrays that cannot be scored.
    """
    return _score_by(_load_module(name, trust_remote_code), name, predictions, references)


def check_fit(metric: Metric, predicts: str, task: str, place: str) -> None:
    """Raise UsageError where a metric does not read what a task predicts; a user's metric may read anything."""
    if not metric.reads or predicts in metric.reads:
        return
    fitting = [name for name, other in METRICS.entries().items() if predicts in other.reads]
    raise UsageError(
        f"{place}: {metric.name} compares {' or '.join(metric.reads)}, but {task} predicts {predicts}; available: "
        f"{', '.join(fitting) or 'none'}, or a path: FILE.py, or a folder NAME with NAME.py"
    )


def check_label_names(metric: Metric, names: Sequence[str], place: str) -> None:
    """Raise UsageError where a metric cannot score labels of these names."""
    if metric.objection is not None and (reason := metric.objection(names)) is not None:
        raise UsageError(f"{place}: {reason}")


def is_copy(module: str) -> bool:
    """Return whether the file of a metric runs as the copy that `evaluate.load` makes; `module` is its `__name__`."""
    return not module.startswith(f"{__name__}.")


def evaluate_module(metric: Metric, module: str) -> type[evaluate.Metric]:
    """Return a metric as the class of the `evaluate` module `module`, whose result is `{name: score}`.

    Keyword arguments of its `compute` are those of the metric's `compute`.
    """
    import datasets
    import evaluate

    def info(self: object) -> evaluate.MetricInfo:
        value = datasets.Value(metric.value_type)
        feature = datasets.Sequence(value) if metric.is_sequence else value
        return evaluate.MetricInfo(
            description=sys.modules[module].__doc__ or "",
            citation="",
            inputs_description="predictions and references, one of each row",
            features=datasets.Features({"predictions": feature, "references": feature}),
            format=None if metric.is_sequence else "numpy",
        )

    def compute(self: object, predictions: Columns, references: Columns, **options: object) -> dict[str, float]:
        arrays = [to_sequences(rows) if metric.is_sequence else np.asarray(rows) for rows in (predictions, references)]
        return {metric.name: metric.compute(*arrays, **options)}

    return type("Module", (evaluate.Metric,), {"__module__": module, "_info": info, "_compute": compute})


def to_sequences(rows: Iterable[Iterable[object]]) -> np.ndarray:
    """Return rows of any lengths as an array (rows,) of tuples."""
    tuples = [tuple(row) for row in rows]
    array = np.empty(len(tuples), object)
    array[:] = tuples
    return array


def check_sizes(predictions: np.ndarray, references: np.ndarray) -> None:
    """Raise ValueError where the arrays are empty or differ in shape."""
    if predictions.shape != references.shape or not references.size:
        raise ValueError(
            f"as many predictions as labels are needed, at least 1, but got {predictions.size}, {references.size}"
        )


def _score_by(module: _Computes, name: str, predictions: ArrayLike, references: ArrayLike) -> float:
    try:
        results = module.compute(predictions=_read_column(predictions), references=_read_column(references))
    except ValueError as error:
        raise UsageError(f"metric {name!r}: {error}") from error
    return float(next(iter(results.values())))


def _read_column(values: ArrayLike) -> Columns:
    """Return the values of rows as an array, or as lists where rows hold several."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    rows = list(values) if isinstance(values, np.ndarray | list) else []
    return [list(row) for row in rows] if rows and isinstance(rows[0], list | tuple) else np.asarray(values)


@cache
def _load_module(name: str, trust_remote_code: bool) -> _Computes:
    """Load an `evaluate` module once per process; it keeps its results in memory, so that scoring writes no files."""
    path = _find_file(name)
    if path is None and not trust_remote_code:
        raise unknown("metric", name, [*METRICS.names(), "or a path: FILE.py, or a folder NAME with NAME.py"])
    import evaluate
    from huggingface_hub.constants import is_offline_mode

    evaluate.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # its download counter is telemetry
    evaluate.config.HF_EVALUATE_OFFLINE |= is_offline_mode()  # evaluate has its own switch
    try:
        module: _Computes = evaluate.load(name if path is None else str(path), keep_in_memory=True)
    except (ImportError, OSError) as error:
        raise UsageError(f"metric {name!r} cannot be loaded: {error}") from error
    return module


def _find_file(name: str) -> Path | None:
    """Return the file of a metric: the package's first, then the path's; null if there is neither."""
    if name in METRICS.names():
        return Path(__file__).parent / f"{name}.py"
    absolute = Path(name).expanduser().resolve()
    candidates = (absolute, absolute / f"{absolute.name}.py")
    return next((path for path in candidates if path.suffix == ".py" and path.is_file()), None)
