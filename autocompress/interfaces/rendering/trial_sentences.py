"""Describe trials in sentences: a row, the front, why `pick` chose a trial, and what to do if none fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autocompress.core.formatting import counted, drop_text, duration, factor, megabytes, ms, points, times
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.rendering.tables import Split
from autocompress.selection import WORST

if TYPE_CHECKING:
    from autocompress.actions.measure_folder import FolderMeasurement
    from autocompress.selection import ExpectedDrop, Explanation, Loosened, NoneFits
    from autocompress.study import StudyView

SUPERLATIVES = {
    "quality": "the one with the highest quality",
    "latency_ms": "the fastest",
    "size_mb": "the smallest",
    "download_mb": "the one with the smallest download",
    "text_ms": "the one that labels a text the soonest",
}


def row_sentences(row: TrialRow, expected: ExpectedDrop | None, metric: str) -> list[str]:
    """Describe one trial: recipe, quality, expected drop, latency, size."""
    lines = [f"trial {row.trial}: {row.describe()}"]
    for split in (Split("test"), Split("validation")):
        quality, drop, interval = split.numbers(row)
        if quality is not None and drop is not None:
            lines.append(f"  {metric} on {split.name}: {points(quality)}, a drop of {drop_text(drop, interval)} points")
    if expected is not None:
        lines.append(f"  expected drop on other rows: {points(expected.drop)} ± {points(expected.spread)} points")
    if row.agreement is not None:
        share = 100 * row.agreement.disagreement
        lines.append(f"  differs from the teacher on {share:.1f} % of {counted(row.agreement.rows, 'agreement row')}")
    if row.latency_ms is not None and row.speedup is not None:
        lines.append(f"  {ms(row.latency_ms)} ms, {row.speedup_text()} as fast as the teacher")
    if row.size_mb is not None:
        smaller = f", {times(row.compression)} smaller than the teacher" if row.compression else ""
        memory = f"; {row.memory_mb:.0f} MB of memory" if row.memory_mb is not None else ""
        lines.append(f"  {megabytes(row.size_mb)} MB{smaller}{memory}")
    if row.download_mb is not None:
        text = f"; {ms(row.text_ms)} ms from a text to its label" if row.text_ms is not None else ""
        lines.append(f"  {megabytes(row.download_mb)} MB to download, tokenizer included{text}")
    return [*lines, *(f"  {line}" for line in startup_sentences(row))]


def startup_sentences(measured: FolderMeasurement | TrialRow) -> list[str]:
    """Describe cold caches, start and throughput in one line; return no line where they were not measured."""
    if measured.cold_ms is None or measured.start_ms is None or measured.throughput is None:
        return []
    return [
        f"{ms(measured.cold_ms)} ms with cold caches; {measured.start_ms:.0f} ms from opening to the first logits; "
        f"{measured.throughput:,.0f} texts per second in large batches"
    ]


def front_sentence(view: StudyView, knee: TrialRow | None = None) -> str:
    """Describe the front, and the trial that `pick` chooses by default."""
    candidates = sum(row.trial != 0 for row in view.rows)
    constraints = ", ".join(f"{name} {bound:g}" for name, bound in view.constraints.items())
    device = f" on {'every device' if view.device == WORST else view.device}" if view.device else ""
    text = (
        f"the front of study {view.name}{device} holds {len(view.front)} of {candidates} trials "
        f"({duration(view.seconds)}{'; ' + constraints if constraints else ''})"
    )
    if knee is None:
        return text
    text += f"\n◆ the knee, trial {knee.trial}: the best compromise, which pick chooses by default"
    if not knee.on_front:
        text += "; it is on the front by expected quality on other rows, not by measured quality"
    return text


def nearest_sentence(none: NoneFits, constraints: Mapping[str, float | None]) -> str:
    """Say that no trial satisfies the constraints, which trials come nearest, and which bounds would be enough."""
    if not none.nearest:
        return "no trial is complete yet, so there is nothing to choose from; continue the search"
    bounds = ", ".join(f"{name} {bound:g}" for name, bound in constraints.items() if bound is not None)
    misses = [
        f"nearest to {name} is trial {row.trial}, with {_bounded_value(name, row)}"
        for name, row in none.nearest.items()
    ]
    ways = [f"{name} {loosened.bound:g} (trial {loosened.row.trial})" for name, loosened in none.loosened.items()]
    way_out = f"loosen to {' or '.join(ways)}" if ways else "loosening one constraint alone is not enough"
    return f"no trial satisfies {bounds}; {'; '.join(misses)}; {way_out}"


def explanation_sentences(explanation: Explanation, objectives: Sequence[str]) -> list[str]:
    """Say why a trial was picked, what alternatives trade, and what looser constraints would give."""
    rule = f"the best compromise of {_join_names(objectives)} (the knee)"
    if explanation.prefer:
        rule = SUPERLATIVES[explanation.prefer]
    models = counted(explanation.complete, "model")
    lines = [f"why: {explanation.holding} of {models} satisfy the constraints; of these, this is {rule}"]
    for near in explanation.neighbours:
        lines += [
            f"  alternative: trial {near.row.trial}, {near.row.describe()}",
            f"    {factor(near.faster, 'as fast')}, {factor(near.smaller, 'smaller')}, {_further_drop(near.drop)}",
        ]
    for name, loosened in explanation.loosened.items():
        row = loosened.row
        lines.append(
            f"  with {name} {loosened.bound:g}, pick would choose trial {row.trial}: {ms(row.latency_ms or 0.0)} ms, "
            f"{megabytes(row.size_mb or 0.0)} MB, {_bounded_value('max_drop', row)}"
        )
    return lines


def explanation_json(explanation: Explanation) -> dict[str, object]:
    """Return an explanation as plain JSON types."""
    neighbours = [
        {"trial": near.row.trial, "better_in": list(near.better_in), "times_as_fast": near.faster,
         "times_smaller": near.smaller, "further_drop": near.drop}
        for near in explanation.neighbours
    ]  # fmt: skip
    return {
        "complete": explanation.complete, "holding": explanation.holding, "prefer": explanation.prefer,
        "neighbours": neighbours, "loosened": loosened_json(explanation.loosened),
    }  # fmt: skip


def loosened_json(loosened: Mapping[str, Loosened]) -> dict[str, object]:
    """Map each constraint to the bound that would be enough, and the trial that it would admit."""
    return {name: {"bound": looser.bound, "trial": looser.row.trial} for name, looser in loosened.items()}


def _join_names(objectives: Sequence[str]) -> str:
    names = [name.removesuffix("_ms").removesuffix("_mb") for name in objectives]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _further_drop(drop: float) -> str:
    """Describe a difference of expected drops."""
    if abs(drop) < 0.0005:
        return "the same expected drop"
    return f"expected to lose {points(abs(drop))} points {'more' if drop > 0 else 'less'}"


def _bounded_value(constraint: str, row: TrialRow) -> str:
    """Return the value of a row that a constraint bounds."""
    if constraint == "max_latency_ms":
        return "" if row.latency_ms is None else f"{ms(row.latency_ms)} ms"
    if constraint == "max_size_mb":
        return "" if row.size_mb is None else f"{megabytes(row.size_mb)} MB"
    if constraint == "max_download_mb":
        return "" if row.download_mb is None else f"a download of {megabytes(row.download_mb)} MB"
    if row.expected_drop is not None and row.expected_drop_interval is not None:
        return f"an expected drop of {drop_text(row.expected_drop, row.expected_drop_interval)} points on other rows"
    return "" if row.drop is None else f"a measured drop of {points(row.drop)} points"
