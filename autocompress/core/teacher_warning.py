"""What is wrong with a teacher, as trial 0 stores it: the finding, the remedy and its price."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autocompress.core.json_types import Json


@dataclass(frozen=True, kw_only=True)
class TeacherWarning:
    """One reason why drops against this teacher say little."""

    finding: str
    remedy: str
    minutes: float | None = None  # that the remedy takes; null: not known

    @classmethod
    def from_facts(cls, facts: Json) -> tuple[TeacherWarning, ...]:
        """Read the facts of trial 0; empty where nothing is wrong, or the teacher was not checked."""
        return tuple(cls(**values) for values in facts.get("warnings", ()))

    def describe(self) -> str:
        """Describe finding, remedy and price in one sentence."""
        price = "" if self.minutes is None else f" (about {max(1, round(self.minutes))} min)"
        return f"{self.finding}; {self.remedy}{price}"


def describe_warnings(warnings: Sequence[TeacherWarning]) -> list[str]:
    """Describe warnings in one sentence for each remedy."""
    by_remedy: dict[str, list[TeacherWarning]] = {}
    for warning in warnings:
        by_remedy.setdefault(warning.remedy, []).append(warning)
    return [
        replace(group[0], finding="; ".join(warning.finding for warning in group)).describe()
        for group in by_remedy.values()
    ]


def successor_name(study: str) -> str:
    """Return the name of the next study: `sst2` → `sst2-2` → `sst2-3`."""
    match = re.fullmatch(r"(.*)-(\d+)", study)
    return f"{study}-2" if match is None else f"{match[1]}-{int(match[2]) + 1}"


def describe_remedy(study: str, fine_tune: Json | None) -> tuple[str, float | None]:
    """Return how to get a better teacher than the settings `fine_tune` gave, and the minutes that it takes where that is set.

    Another teacher needs a study of its own: trials of different teachers cannot be compared.
    """
    name = f"--set study={successor_name(study)}"
    if not (fine_tune or {}).get("auto"):
        return (
            f"search better settings in a study of its own: add `{name} --set teacher.fine_tune=auto` to the search",
            None,
        )
    seconds = (fine_tune or {}).get("time")
    if seconds is None:
        return "check the labels, or take another model", None
    minutes = max(1, round(2 * seconds / 60))
    longer = f"--set 'teacher.fine_tune={{auto: true, time: {minutes}m}}'"
    return f"fine-tune it longer in a study of its own: add `{name} {longer}` to the search", minutes
