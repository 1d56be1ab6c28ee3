"""Parse and check values of the command line that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.errors import UsageError
from autocompress.interfaces.terminal import Terminal

if TYPE_CHECKING:
    from autocompress.selection import Picked
    from autocompress.study import StudyView


def constraint_options(
    max_drop: float | None, max_latency_ms: float | None, max_size_mb: float | None, max_download_mb: float | None
) -> dict[str, float]:
    """Return the constraints that were given as options."""
    options = {
        "max_drop": max_drop, "max_latency_ms": max_latency_ms, "max_size_mb": max_size_mb,
        "max_download_mb": max_download_mb,
    }  # fmt: skip
    return {name: bound for name, bound in options.items() if bound is not None}


def choose_trial(terminal: Terminal, view: StudyView, limits: dict[str, float], prefer: str | None) -> Picked:
    """Return the best trial. If none satisfies the constraints, print the nearest misses as JSON, and raise."""
    from autocompress.interfaces import presenters

    try:
        return presenters.choose(view, limits, prefer)
    except presenters.NoTrialFits as miss:
        terminal.result(miss.document())
        raise


def names_trial(text: str) -> bool:
    """Return whether an argument is of the form STUDY:TRIAL."""
    return text.rpartition(":")[2].isdigit()


def parse_trial(text: str) -> tuple[str, int]:
    """Return study and trial number of `studies/sst2.yaml:12`. Raises UsageError for any other form."""
    study, colon, trial = text.rpartition(":")
    if not (colon and study and trial.isascii() and trial.isdigit()):
        raise UsageError(f"compare: {text!r} is not STUDY:TRIAL; write for example studies/sst2.yaml:12")
    return study, int(trial)


def parse_time(text: str | None) -> str | None:
    """Return a time as seconds. Raises UsageError that names the option --time."""

    from autocompress.config import parse_duration

    try:
        return None if text is None else f"{parse_duration(text):g}"
    except ValueError as error:
        raise UsageError(f"--time: {error}") from None
