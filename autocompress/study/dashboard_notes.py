"""What people see of a study in the dashboard: a Markdown note per trial and per study, and plots of the study.

Notes and figures are kept as attributes of Optuna's study, in the dashboard's own form (a test reads them back with the
dashboard's functions); writing them here saves loading the dashboard, and 200 MB, beside every search.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Protocol

from autocompress.core.trial_row import TrialRow
from autocompress.selection import violations
from autocompress.study import plots

CHUNK = 2045  # characters per attribute, the dashboard's own limit
MOST_ROWS = 12  # of the front, in the study's note
STATED = (
    "runtime",
    "runtime_version",
    "cpu",
    "threads",
    "batch",
    "tokens",
    "examples",
    "seed",
    "noise",
)  # conditions in a note


MOST_LABELS = 6  # in a note: those that lost most
MOST_STAGES = 6  # likewise: those that took longest
MOST_LETTERS = 240  # of a condition: the longest is what was noticed of noise


@dataclass(frozen=True, kw_only=True)
class NotedTrial:
    """What a trial's note tells, as our tables have it."""

    trial_id: int  # Optuna's
    row: TrialRow
    teacher: TrialRow | None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds
    other_devices: Mapping[str, TrialRow] = field(default_factory=dict)  # on further devices


class AttributeStore(Protocol):
    """What is used of Optuna's storage."""

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None: ...
    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]: ...


def save_note(
    storage: AttributeStore, study_id: int, trial_id: int | None, text: str, before: Mapping[str, Any] | None = None
) -> None:
    """Save or replace the note of a trial, or of the study where `trial_id` is null.

    `before` are the study's attributes, where they are known already: all notes are among them, and they grow.
    """
    prefix = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    before = storage.get_study_system_attrs(study_id) if before is None else before
    _save_chunks(storage, study_id, f"{prefix}note_str:", text, before)
    storage.set_study_system_attr(study_id, f"{prefix}note_ver", before.get(f"{prefix}note_ver", 0) + 1)


def save_figures(
    storage: AttributeStore, study_id: int, rows: Sequence[TrialRow], grown: plots.Growth, seconds: float
) -> None:
    """Save or replace the study's plots on its page: the front, its growth, and drops by decision."""
    figures = {"front": plots.titled(plots.front(rows), "The front (larger mark: larger file; bars: 95 % intervals)")}
    if len(grown) > 1:
        figures["growth"] = plots.titled(plots.growth(grown, seconds), "Hypervolume over time (points × octaves²)")
    if drops := plots.drops(rows):
        figures["drops"] = plots.titled(drops, "Drop by the value of a decision")
    before = storage.get_study_system_attrs(study_id)
    for name, figure in figures.items():
        _save_chunks(storage, study_id, f"dashboard:plot_data:{name}:", json.dumps(figure), before)


def trial_note(study: str, noted: NotedTrial, constraints: Mapping[str, float | None]) -> str:
    """One trial beside the teacher, what it must hold, and how to get it; less than 2 kB."""
    row = noted.row
    parts = [f"## Trial {row.trial}: {'the teacher' if row.trial == 0 else row.recipe.describe()}"]
    if row.reason:
        parts.append(f"**{row.state}**: {_inline(row.reason)[:300]}")
    if row.latency_ms is not None:
        parts.append(_table(row, noted.teacher))
    if row.state == "complete":
        parts += [_held(row, constraints)] * bool(violations(row, constraints))
        command = f"autocompress export {study} --trial {row.trial} --to {study}-{row.trial}"
        parts.append(f"Get this model:\n\n```\n{command}\n```")
    parts += [_on(device, other) for device, other in noted.other_devices.items() if other.latency_ms is not None]
    if recall := noted.facts.get("recall"):
        parts.append(_by_label(recall))
    slowest = sorted(noted.stages.items(), key=lambda item: -item[1])[:MOST_STAGES]
    parts += [f"Time: {', '.join(f'{_inline(stage)} {seconds:.1f} s' for stage, seconds in slowest)}"] * bool(slowest)
    given = {name: noted.conditions[name] for name in STATED if noted.conditions.get(name) is not None}
    stated = ", ".join(f"{name} {_inline(str(value))[:MOST_LETTERS]}" for name, value in given.items())
    parts += [f"Conditions: {stated}"] * bool(stated)
    return "\n\n".join(parts)[:CHUNK]


def _by_label(recall: Mapping[str, Sequence[float]]) -> str:
    """Of the rows of a label, how many are right; of many labels those that lost most against the teacher."""
    worst = sorted(recall.items(), key=lambda item: item[1][0] - item[1][1])[:MOST_LABELS]
    told = ", ".join(
        f"{_inline(label)[:30]} {100 * own:.1f} (teacher {100 * other:.1f})" for label, (own, other) in worst
    )
    more = f", and {len(recall) - len(worst)} that lost less" if len(recall) > len(worst) else ""
    return f"Right of each label's validation rows, %: {told}{more}"


def study_note(study: str, rows: Sequence[TrialRow], teacher: TrialRow | None) -> str:
    """The front as a table, fastest first, and the next commands."""
    front = sorted((row for row in rows if row.on_front), key=lambda row: row.latency_ms or 0.0)
    head = ("trial", "recipe", "drop, points", "test drop", "latency_ms", "speedup", "size_mb")
    lines = [f"| {' | '.join(head)} |", "|--:|:--|" + "--:|" * 5]
    for row in [*front[:MOST_ROWS], *([teacher] if teacher else [])]:
        words = "the teacher" if row.trial == 0 else row.recipe.describe()
        drops = f"{_points(row.drop)} | {_points(row.test_drop)}"
        price = f"{_number(row.latency_ms)} | {_times(row.speedup)} | {_number(row.size_mb)}"
        lines.append(f"| {row.trial} | {words} | {drops} | {price} |")
    more = f"\n\n… and {len(front) - MOST_ROWS} more." if len(front) > MOST_ROWS else ""
    heading = f"## The front of {study}: {len(front)} model{'' if len(front) == 1 else 's'}"
    table = "\n".join(lines)
    commands = f"```\nautocompress pick {study}\nautocompress export {study} --to DIR\n```"
    return f"{heading}\n\n{table}{more}\n\n{commands}"


def _table(row: TrialRow, teacher: TrialRow | None) -> str:
    """Metric, teacher, this."""
    base = teacher or row
    drop = f"(drop {_points(row.drop)} points{_span(row.drop_interval, 100)})"
    test_drop = f"(drop {_points(row.test_drop)} points{_span(row.test_drop_interval, 100)})"
    speedup = f"(speedup {_times(row.speedup)}{_span(row.speedup_interval, 1)})"
    lines = [
        ("quality (validation)", _fraction(base.quality), f"{_fraction(row.quality)} {drop}"),
        ("quality (test)", _fraction(base.test_quality), f"{_fraction(row.test_quality)} {test_drop}"),
        ("latency_ms", _number(base.latency_ms), f"{_number(row.latency_ms)} {speedup}"),
        ("latency_p95_ms", _number(base.latency_p95_ms), _number(row.latency_p95_ms)),
        ("size_mb", _number(base.size_mb), f"{_number(row.size_mb)} (compression {_times(row.compression)})"),
        ("memory_mb", _number(base.memory_mb), _number(row.memory_mb)),
        ("cold caches, ms", _number(base.cold_ms), _number(row.cold_ms)),
        ("start to first logits, ms", _number(base.start_ms), _number(row.start_ms)),
        ("texts per second, large batches", _number(base.throughput), _number(row.throughput)),
    ]
    lines = [line for line in lines if line[1:] != ("–", "–")]
    if row.test_quality is None:
        lines.pop(1)
    return "\n".join(["| metric | teacher | this |", "|:--|--:|--:|", *(f"| {' | '.join(line)} |" for line in lines)])


def _on(device: str, row: TrialRow) -> str:
    """The trial on a further device, in one line."""
    price = f"{_number(row.latency_ms)} ms (speedup {_times(row.speedup)})"
    return f"On {device}: {price}, quality {_fraction(row.quality)} (drop {_points(row.drop)} points)"


def _held(row: TrialRow, constraints: Mapping[str, float | None]) -> str:
    """Which constraints the trial holds."""
    found = violations(row, constraints)
    return "Constraints: " + ", ".join(
        f"{name} {constraints[name]:g} {'broken' if found[name] > 0 else 'held'}" for name in found
    )


def _save_chunks(storage: AttributeStore, study_id: int, prefix: str, text: str, before: Mapping[str, Any]) -> None:
    """Cut the text into attributes `prefix0`, `prefix1`, …; what was longer before is emptied."""
    count = ceil(len(text) / CHUNK)
    stale = sum(key.startswith(prefix) for key in before)
    for index in range(max(count, stale)):
        storage.set_study_system_attr(study_id, f"{prefix}{index}", text[index * CHUNK : (index + 1) * CHUNK])


def _inline(text: str) -> str:
    """Text that cannot break out of its line or cell."""
    return " ".join(text.replace("|", "/").replace("`", "'").replace("<", "‹").split())


def _fraction(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _span(interval: tuple[float, float] | None, factor: float) -> str:
    return "" if interval is None else f", 95 %: {factor * interval[0]:.2f} … {factor * interval[1]:.2f}"


def _points(drop: float | None) -> str:
    return "–" if drop is None else f"{100 * drop:.2f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:#.3g}" if value < 10 else f"{value:.1f}"


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"
