"""The time that the final evaluation will take: it is reserved from the budget, so that finalists are tested within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autocompress.core.trial_row import TrialRow

OPENING_SECONDS = 1.0  # of one model, besides its calls


@dataclass(frozen=True)
class FinalRows:
    """The rows of a study on which models are scored: on the first ones in every trial, on the others at the end."""

    validation: int = 0
    test: int = 0
    agreement: int = 0


@dataclass(frozen=True)
class FinalSeconds:
    """The seconds that the final evaluation will take."""

    tests: float = 0.0
    comparisons: float = 0.0  # with the teacher, on agreement rows


def predict_final_seconds(
    front: Sequence[TrialRow], teacher: TrialRow, teacher_seconds: float, rows: FinalRows
) -> FinalSeconds:
    """Predict the seconds in which the front will be tested and compared, as far as that is missing.

    `teacher_seconds`: of the teacher on validation. The time of a model is proportional to its latency.
    """
    models = (teacher, *front)
    tests = [row for row in models if row.test_quality is None]
    compared = [row for row in models if row.agreement is None] if rows.agreement else []
    second = teacher_seconds / max(1, rows.validation)  # of the teacher on one row
    return FinalSeconds(
        tests=_seconds(tests, teacher, second * rows.test),
        comparisons=_seconds(compared, teacher, second * rows.agreement),
    )


def _seconds(models: Sequence[TrialRow], teacher: TrialRow, teacher_seconds: float) -> float:
    calls = sum((row.latency_ms or 0.0) / (teacher.latency_ms or 1.0) for row in models)
    return calls * teacher_seconds + OPENING_SECONDS * len(models)
