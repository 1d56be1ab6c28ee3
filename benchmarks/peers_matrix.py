"""The field's selection matrix from our own trials: family of techniques × compression, loss, speed-up, effort.

The trials are those of the recorded searches (choosing.json), with their loss on test. A trial belongs to one family if all
decisions that differ from the teacher's are of that family, else it is joint. Each range is that of the family's own front, as
far as it loses at most 15 points: other trials of a search are steps on its way. A search tries few recipes of one family, so
that the measurements of single decisions (decisions.json) count, too; they have no minutes, and their loss is on validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autocompress.core.scalar import Scalar
from autocompress.core.trial_row import TrialRow
from autocompress.selection import on_front
from benchmarks.choosing_records import SearchRecord

FAMILIES = {
    "quantization": ("weight_bits", "embedding_bits"),
    "pruning": ("head_sparsity", "ffn_sparsity"),
    "distillation (fewer layers)": ("depth",),
    "architecture (attention)": ("attention", "attention_window"),
}
JOINT = "joint"
MAX_LOSS = 0.15
DECISIONS = Path(__file__).with_name("decisions.json")


@dataclass(frozen=True)
class Entry:
    """The numbers of one model of a family."""

    compression: float | None
    drop: float | None
    speedup: float | None
    minutes: float | None = None


def render_matrix(searches: Iterable[SearchRecord], decisions: Path = DECISIONS) -> list[str]:
    """Return the lines of the matrix from recorded searches and the single decisions; none where nothing is recorded."""
    entries: dict[str, list[Entry]] = {}
    for search in searches:
        for family, members in split_by_family(search.rows).items():
            entries.setdefault(family, []).extend(select_front(members, search))
    if not entries:
        return []
    for family, entry in read_decisions(decisions):
        entries.setdefault(family, []).append(entry)
    return [
        "| family | models | times smaller | points lost | times as fast | minutes for a trial |",
        "|---|--:|---|---|---|---|",
        *(_line(family, entries[family]) for family in (*FAMILIES, JOINT) if entries.get(family)),
    ]


def read_decisions(path: Path) -> Iterable[tuple[str, Entry]]:
    """Yield the family and the numbers of each single decision that was measured for quality, too."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    for row in rows:
        family = next((family for family, names in FAMILIES.items() if row["decision"] in names), None)
        if family is not None and row.get("drop", 1.0) <= MAX_LOSS:
            yield family, Entry(row["compression"], row["drop"], row["speedup"])


def split_by_family(rows: Sequence[TrialRow]) -> dict[str, list[TrialRow]]:
    """Return the complete trials by family; the teacher is trial 0."""
    teacher = next((row for row in rows if row.trial == 0), None)
    families: dict[str, list[TrialRow]] = {}
    for row in rows if teacher is not None else ():
        if row.state == "complete" and row.drop is not None:
            family = find_family(row.recipe.as_dict(), teacher.recipe.as_dict())  # type: ignore[union-attr]  # seen above
            if family is not None:
                families.setdefault(family, []).append(row)
    return families


def find_family(recipe: Mapping[str, Scalar], teacher: Mapping[str, Scalar]) -> str | None:
    """Return the family of a recipe: joint for several; null for a copy of the teacher."""
    changed = {name for name, value in recipe.items() if value is not None and value != teacher.get(name)}
    if not changed:
        return None
    return next((family for family, names in FAMILIES.items() if changed <= set(names)), JOINT)


def select_front(rows: Sequence[TrialRow], search: SearchRecord) -> list[Entry]:
    """Return the numbers of a family's front (quality on test, latency, size) as far as it loses at most 15 points."""
    size = next(row.size_mb for row in search.rows if row.trial == 0) or 0.0
    drops = {row.trial: float(search.losses(row.trial).mean()) for row in rows}
    members = on_front([replace(row, quality=-drops[row.trial]) for row in rows])
    return [
        Entry(size / row.size_mb if row.size_mb else None, drops[row.trial], row.speedup, _minutes(row.seconds))
        for row in rows
        if row.trial in members and drops[row.trial] <= MAX_LOSS
    ]


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60


def _line(family: str, entries: Sequence[Entry]) -> str:
    cells = [
        _span([entry.compression for entry in entries], 1),
        _span([None if entry.drop is None else 100 * entry.drop for entry in entries], 1),
        _span([entry.speedup for entry in entries], 1),
        _span([entry.minutes for entry in entries], 1),
    ]
    return f"| {family} | {len(entries)} | {' | '.join(cells)} |"


def _span(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known):.{digits}f} … {max(known):.{digits}f}" if known else ""
