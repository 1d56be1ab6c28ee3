"""Storing notes and plots as attributes of Optuna's study, in the form that Optuna's dashboard reads.

A test reads them back with the dashboard's functions. Writing them here avoids loading the dashboard, 200 MB, in a search.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil
from typing import Protocol

from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.core.json_types import Json
from autocompress.core.trial_row import TrialRow
from autocompress.study import plots

CHUNK = 2045  # characters per attribute, the dashboard's limit
Attributes = Json  # of Optuna's study, by key


class AttributeStore(Protocol):
    """The methods of Optuna's storage that are used."""

    def set_study_system_attr(self, study_id: int, key: str, value: str | int) -> None: ...
    def get_study_system_attrs(self, study_id: int) -> Json: ...


def save_note(
    storage: AttributeStore, study_id: int, trial_id: int | None, text: str, before: Attributes | None = None
) -> None:
    """Save or replace the note of a trial, or of the study where `trial_id` is null.

    `before`: the study's attributes, where the caller has read them; they contain all notes and grow.
    """
    prefix = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    before = storage.get_study_system_attrs(study_id) if before is None else before
    _save_chunks(storage, study_id, f"{prefix}note_str:", text, before)
    storage.set_study_system_attr(study_id, f"{prefix}note_ver", before.get(f"{prefix}note_ver", 0) + 1)


def save_figures(
    storage: AttributeStore,
    study_id: int,
    rows: Sequence[TrialRow],
    growth: plots.Growth,
    seconds: float,
    fine_tuning: FineTuningRecord | None = None,
) -> None:
    """Save or replace the plots of the study's page: the front, its growth, the teacher's learning curve, drops by decision."""
    front = plots.plot_front(rows)
    figures = {"front": plots.add_title(front, "The front (larger mark: larger file; bars: 95 % intervals)")}
    if len(growth) > 1:
        curve = plots.plot_growth(growth, seconds)
        figures["growth"] = plots.add_title(curve, "Hypervolume over time (points × octaves²)")
    if fine_tuning is not None and fine_tuning.curve:
        curves = plots.plot_learning_curves(fine_tuning)
        figures["teacher"] = plots.add_title(curves, "Fine-tuning the teacher")
    if drops := plots.plot_drops(rows):
        figures["drops"] = plots.add_title(drops, "Drop by the value of a decision")
    before = storage.get_study_system_attrs(study_id)
    for name, figure in figures.items():
        _save_chunks(storage, study_id, f"dashboard:plot_data:{name}:", json.dumps(figure), before)


def _save_chunks(storage: AttributeStore, study_id: int, prefix: str, text: str, before: Attributes) -> None:
    """Cut the text into attributes `prefix0`, `prefix1`, …; empty those that a longer text left."""
    count = ceil(len(text) / CHUNK)
    stale = sum(key.startswith(prefix) for key in before)
    for index in range(max(count, stale)):
        storage.set_study_system_attr(study_id, f"{prefix}{index}", text[index * CHUNK : (index + 1) * CHUNK])
