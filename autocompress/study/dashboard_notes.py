"""The Markdown notes of a trial and of a study that the dashboard shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autocompress.core.fine_tuning_record import FineTuningRecord
from autocompress.core.json_types import Json
from autocompress.core.teacher_warning import TeacherWarning, describe_warnings
from autocompress.core.trial_row import TrialRow
from autocompress.selection import violations
from autocompress.study.dashboard_attributes import CHUNK

MOST_ROWS = 12  # of the front, in the study's note
CONDITIONS = ("runtime", "runtime_version", "cpu", "threads", "batch", "tokens", "examples", "seed", "noise")
MOST_LABELS = 6  # those that lost most
MOST_STAGES = 6  # those that took longest
MOST_CONDITION_LETTERS = 240  # the description of noise is the longest


@dataclass(frozen=True, kw_only=True)
class NotedTrial:
    """The content of a trial's note."""

    trial_id: int  # Optuna's
    row: TrialRow
    teacher: TrialRow | None
    conditions: Mapping[str, object] = field(default_factory=dict)
    facts: Json = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds
    other_devices: Mapping[str, TrialRow] = field(default_factory=dict)  # secondary device -> row


def trial_note(study: str, noted: NotedTrial, constraints: Mapping[str, float | None]) -> str:
    """Write the note of a trial: its numbers beside the teacher's, the constraints, the export command; below 2 kB."""
    row = noted.row
    parts = [f"## Trial {row.trial}: {'the teacher' if row.trial == 0 else row.recipe.describe()}"]
    if row.reason:
        parts.append(f"**{row.state}**: {_inline(row.reason)[:300]}")
    if row.latency_ms is not None:
        parts.append(_metrics_table(row, noted.teacher))
    if row.state == "complete":
        parts += [_constraints_line(row, constraints)] * bool(violations(row, constraints))
        command = f"autocompress export {study} --trial {row.trial} --to {study}-{row.trial}"
        parts.append(f"Get this model:\n\n```\n{command}\n```")
    parts += [
        _device_line(name, device_row)
        for name, device_row in noted.other_devices.items()
        if device_row.latency_ms is not None
    ]
    if record := FineTuningRecord.from_facts(noted.facts):
        parts.append(_inline(record.describe()))
    sentences = describe_warnings(TeacherWarning.from_facts(noted.facts))
    parts += [f"**Warning**: {_inline(sentence)}" for sentence in sentences]
    if recall := noted.facts.get("recall"):
        parts.append(_recall_line(recall))
    slowest = sorted(noted.stages.items(), key=lambda item: -item[1])[:MOST_STAGES]
    parts += [f"Time: {', '.join(f'{_inline(stage)} {seconds:.1f} s' for stage, seconds in slowest)}"] * bool(slowest)
    conditions = [
        f"{name} {_inline(str(noted.conditions[name]))[:MOST_CONDITION_LETTERS]}"
        for name in CONDITIONS
        if noted.conditions.get(name) is not None
    ]
    parts += [f"Conditions: {', '.join(conditions)}"] * bool(conditions)
    return "\n\n".join(parts)[:CHUNK]


def study_note(
    study: str, rows: Sequence[TrialRow], teacher: TrialRow | None, warnings: Sequence[TeacherWarning] = ()
) -> str:
    """Write the note of a study: what is wrong with the teacher, the front as a table, fastest first, and the next commands."""
    front = sorted((row for row in rows if row.on_front), key=lambda row: row.latency_ms or 0.0)
    head = ("trial", "recipe", "drop, points", "test drop", "latency_ms", "speedup", "size_mb")
    lines = [f"| {' | '.join(head)} |", "|--:|:--|" + "--:|" * 5]
    for row in [*front[:MOST_ROWS], *([teacher] if teacher else [])]:
        recipe = "the teacher" if row.trial == 0 else row.recipe.describe()
        drops = f"{_points(row.drop)} | {_points(row.test_drop)}"
        price = f"{_number(row.latency_ms)} | {_times(row.speedup)} | {_number(row.size_mb)}"
        lines.append(f"| {row.trial} | {recipe} | {drops} | {price} |")
    more = f"\n\n… and {len(front) - MOST_ROWS} more." if len(front) > MOST_ROWS else ""
    heading = f"## The front of {study}: {len(front)} model{'' if len(front) == 1 else 's'}"
    table = "\n".join(lines)
    commands = f"```\nautocompress pick {study}\nautocompress export {study} --to DIR\n```"
    warned = "".join(f"**Warning**: {_inline(sentence)}\n\n" for sentence in describe_warnings(warnings))
    return f"{warned}{heading}\n\n{table}{more}\n\n{commands}"


def _metrics_table(row: TrialRow, teacher: TrialRow | None) -> str:
    base = teacher or row
    drop = f"(drop {_points(row.drop)} points{_interval(row.drop_interval, 100)})"
    test_drop = f"(drop {_points(row.test_drop)} points{_interval(row.test_drop_interval, 100)})"
    speedup = f"(speedup {_times(row.speedup)}{_interval(row.speedup_interval, 1)})"
    lines = [
        ("quality (validation)", _fraction(base.quality), f"{_fraction(row.quality)} {drop}"),
        ("quality (test)", _fraction(base.test_quality), f"{_fraction(row.test_quality)} {test_drop}"),
        ("latency_ms", _number(base.latency_ms), f"{_number(row.latency_ms)} {speedup}"),
        ("latency_p95_ms", _number(base.latency_p95_ms), _number(row.latency_p95_ms)),
        ("size_mb", _number(base.size_mb), f"{_number(row.size_mb)} (compression {_times(row.compression)})"),
        ("memory_mb", _number(base.memory_mb), _number(row.memory_mb)),
        ("cold caches, ms", _number(base.cold_ms), _number(row.cold_ms)),
        ("start to first logits, ms", _number(base.start_ms), _number(row.start_ms)),
        ("text_ms (tokenizer included)", _number(base.text_ms), _number(row.text_ms)),
        ("download_mb (tokenizer included)", _number(base.download_mb), _number(row.download_mb)),
        ("texts per second, large batches", _number(base.throughput), _number(row.throughput)),
    ]
    lines = [line for line in lines if line[1:] != ("–", "–")]
    if row.test_quality is None:
        lines.pop(1)
    return "\n".join(["| metric | teacher | this |", "|:--|--:|--:|", *(f"| {' | '.join(line)} |" for line in lines)])


def _device_line(device: str, row: TrialRow) -> str:
    price = f"{_number(row.latency_ms)} ms (speedup {_times(row.speedup)})"
    return f"On {device}: {price}, quality {_fraction(row.quality)} (drop {_points(row.drop)} points)"


def _constraints_line(row: TrialRow, constraints: Mapping[str, float | None]) -> str:
    relative = violations(row, constraints)
    return "Constraints: " + ", ".join(
        f"{name} {constraints[name]:g} {'broken' if relative[name] > 0 else 'held'}" for name in relative
    )


def _recall_line(recall: Mapping[str, Sequence[float]]) -> str:
    """Write the recall of each label beside the teacher's; of many labels those that lost most."""
    worst = sorted(recall.items(), key=lambda item: item[1][0] - item[1][1])[:MOST_LABELS]
    labels = ", ".join(
        f"{_inline(label)[:30]} {100 * model:.1f} (teacher {100 * teacher:.1f})" for label, (model, teacher) in worst
    )
    more = f", and {len(recall) - len(worst)} that lost less" if len(recall) > len(worst) else ""
    return f"Recall of each label on validation, %: {labels}{more}"


def _inline(text: str) -> str:
    """Replace what would end a line, a table's cell or a code span."""
    return " ".join(text.replace("|", "/").replace("`", "'").replace("<", "‹").split())


def _fraction(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _interval(interval: tuple[float, float] | None, factor: float) -> str:
    return "" if interval is None else f", 95 %: {factor * interval[0]:.2f} … {factor * interval[1]:.2f}"


def _points(drop: float | None) -> str:
    return "–" if drop is None else f"{100 * drop:.2f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:#.3g}" if value < 10 else f"{value:.1f}"


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"
