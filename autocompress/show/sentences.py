"""Results as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autocompress.front import WORST
from autocompress.measurement import Result, operators_in_words
from autocompress.show.numbers import counted, drop_text, duration, megabytes, ms, points, room, times
from autocompress.show.tables import Split

if TYPE_CHECKING:
    from autocompress.bench import Figures
    from autocompress.cleaning import Cleaning
    from autocompress.doctor import Finding
    from autocompress.front import Expected
    from autocompress.inventory import Entry
    from autocompress.study import StudyView
    from autocompress.verify import Verdict


def row_sentences(row: Result, expected: Expected | None, metric: str) -> list[str]:
    """One trial in a few lines of words."""
    lines = [f"trial {row.trial}: {row.in_words()}"]
    for split in (Split("test"), Split("validation")):
        quality, drop, interval = split.numbers(row)
        if quality is not None and drop is not None:
            lines.append(f"  {metric} on {split.name}: {points(quality)}, a drop of {drop_text(drop, interval)} points")
    if expected is not None:
        lines.append(
            f"  to be expected on other rows: a drop of {points(expected.drop)} ± {points(expected.spread)} points"
        )
    if row.latency_ms is not None and row.speedup is not None:
        lines.append(f"  {ms(row.latency_ms)} ms, {speedup_text(row)} as fast as the teacher")
    if row.size_mb is not None:
        smaller = f", {times(row.compression)} smaller than the teacher" if row.compression else ""
        memory = f"; {row.memory_mb:.0f} MB of memory" if row.memory_mb is not None else ""
        lines.append(f"  {megabytes(row.size_mb)} MB{smaller}{memory}")
    return [*lines, *(f"  {line}" for line in further_figures(row))]


def speedup_text(row: Result) -> str:
    """A speed-up with its interval: `10.1× (9.8…10.4)`."""
    if row.speedup is None:
        return ""
    low_high = row.speedup_interval
    plain = row.trial == 0 or low_high is None
    return times(row.speedup) + ("" if plain or low_high is None else f" ({low_high[0]:.1f}…{low_high[1]:.1f})")


def front_sentence(view: StudyView) -> str:
    """What the front is of, in one line."""
    count = len(view.front)
    counts = f"{count} of {sum(row.trial != 0 for row in view.rows)} trials"
    held = ", ".join(f"{name} {bound:g}" for name, bound in view.constraints.items())
    on = f" on {'every device' if view.device == WORST else view.device}" if view.device else ""
    return f"{counts} are on the front of study {view.name}{on} ({duration(view.seconds)}{'; ' + held if held else ''})"


def nearest_sentence(nearest: Mapping[str, Result], constraints: Mapping[str, float | None]) -> str:
    """That nothing holds the constraints, and what comes nearest to each that was broken."""
    if not nearest:
        return "no trial is complete yet, so there is nothing to choose from"
    held = ", ".join(f"{name} {bound:g}" for name, bound in constraints.items() if bound is not None)
    misses = [f"trial {row.trial} is nearest to {name}, with {_missed(name, row)}" for name, row in nearest.items()]
    return f"no trial holds {held}; {'; '.join(misses)}"


def verdict_sentence(verdict: Verdict) -> str:
    """Whether a folder passed, and what was compared."""
    if verdict.problems:
        return f"{verdict.folder} fails: {'; '.join(verdict.problems)}"
    hashes = f"{verdict.folder} passes: {verdict.files} files are as they were exported"
    if verdict.largest_difference is None:
        return hashes
    place = "this machine recorded them" if verdict.same_machine else "another machine or version recorded them"
    return (
        f"{hashes}; {verdict.inputs} recorded inputs get the same labels, logits differ by up to "
        f"{verdict.largest_difference:.2g} ({place})"
    )


def figures_sentences(figures: Figures) -> list[str]:
    """Latency, size and memory of a folder, and the conditions."""
    held = figures.conditions
    low_high = figures.speedup_interval
    faster = ""
    if figures.speedup is not None and low_high is not None and figures.reference_latency_ms is not None:
        faster = (
            f"; {times(figures.speedup)} ({low_high[0]:.1f}…{low_high[1]:.1f}) as fast as "
            f"{held['blocks_alternate_with']}, {ms(figures.reference_latency_ms)} ms"
        )
    smaller = f"; {times(figures.compression)} smaller" if figures.compression else ""
    memory = "" if figures.memory_mb is None else f"; {figures.memory_mb:.0f} MB of memory at most"
    noise = f"; {held['noise']}" if held.get("noise") else ""
    return [
        f"latency {ms(figures.latency_ms)} ms (median), {ms(figures.latency_p95_ms)} ms (95th percentile){faster}",
        f"size {megabytes(figures.size_mb)} MB{smaller}{memory}",
        *further_figures(figures),
        *([operators_in_words(held["operators"])] if held.get("operators") else []),
        f"{held['runtime']} {held['runtime_version']}, {held['threads']} thread(s), batch {held['batch']}, "
        f"{held['tokens']} tokens, {held['cpu']}{noise}",
    ]


def further_figures(seen: Figures | Result) -> list[str]:
    """Cold caches, cold start and throughput, in one line; none where they were not taken."""
    if seen.cold_ms is None or seen.start_ms is None or seen.throughput is None:
        return []
    return [
        f"{ms(seen.cold_ms)} ms with cold caches; {seen.start_ms:.0f} ms from opening it to the first logits; "
        f"{seen.throughput:,.0f} texts per second in large batches"
    ]


def cleaning_sentences(cleanings: Sequence[Cleaning], done: bool) -> list[str]:
    """What was or would be removed of each study."""
    lines = [
        f"{cleaning.study}: {'removed' if done else 'would remove'} {counted(len(cleaning.folders), cleaning.what)}, "
        f"{room(cleaning.bytes)}"
        for cleaning in cleanings
    ]
    some = any(cleaning.folders for cleaning in cleanings)
    return [*lines, *(["nothing was removed yet: add --yes"] if some and not done else [])] or [
        "there is no study here"
    ]


def inventory_lines(found: Mapping[str, Sequence[Entry]]) -> list[str]:
    """One line for each entry: its name, what it says of itself, and what this machine makes of it."""
    lines = []
    for kind, entries in found.items():
        width = max((len(entry.name) for entry in entries), default=0)
        here = [f" ({entry.here})" if entry.here else "" for entry in entries]
        lines += [kind, *(f"  {e.name:{width}}  {e.summary}{note}" for e, note in zip(entries, here, strict=True)), ""]
    return lines[:-1]


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """One line each, and a second one where something is to be done."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{'✓' if finding.good else '!'} {finding.what:{width}}  {finding.found}")
        lines += [f"  {'':{width}}  {finding.advice}"] if finding.advice else []
    return lines


def _missed(name: str, row: Result) -> str:
    drop = "" if row.drop is None else f"a measured drop of {points(row.drop)} points"
    if row.expected_drop is not None and row.expected_drop_interval is not None:
        low, high = row.expected_drop_interval
        drop = f"a drop of {points(row.expected_drop)} ({points(low)}…{points(high)}) points to expect on other rows"
    values = {
        "max_drop": drop,
        "max_latency_ms": "" if row.latency_ms is None else f"{ms(row.latency_ms)} ms",
        "max_size_mb": "" if row.size_mb is None else f"{megabytes(row.size_mb)} MB",
    }
    return values[name]
