"""Results as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autocompress.core.formatting import counted, disk_space, drop_text, duration, factor, megabytes, ms, points, times
from autocompress.core.measurement import describe_operators
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.rendering.tables import Split
from autocompress.selection import WORST, FrontComparison

if TYPE_CHECKING:
    from autocompress.actions.clean import Cleaning
    from autocompress.actions.doctor import Finding
    from autocompress.actions.inventory import Entry
    from autocompress.actions.measure_folder import FolderMeasurement
    from autocompress.actions.verify import Verification
    from autocompress.selection import Check, Comparison, ExpectedDrop, Explanation, Loosened, NoneFits
    from autocompress.study import StudyView


BEST = {"quality": "the one of the highest quality", "latency_ms": "the fastest", "size_mb": "the smallest"}


def row_sentences(row: TrialRow, expected: ExpectedDrop | None, metric: str) -> list[str]:
    """One trial in a few lines of words."""
    lines = [f"trial {row.trial}: {row.describe()}"]
    for split in (Split("test"), Split("validation")):
        quality, drop, interval = split.numbers(row)
        if quality is not None and drop is not None:
            lines.append(f"  {metric} on {split.name}: {points(quality)}, a drop of {drop_text(drop, interval)} points")
    if expected is not None:
        lines.append(
            f"  to be expected on other rows: a drop of {points(expected.drop)} ± {points(expected.spread)} points"
        )
    if row.latency_ms is not None and row.speedup is not None:
        lines.append(f"  {ms(row.latency_ms)} ms, {row.speedup_text()} as fast as the teacher")
    if row.size_mb is not None:
        smaller = f", {times(row.compression)} smaller than the teacher" if row.compression else ""
        memory = f"; {row.memory_mb:.0f} MB of memory" if row.memory_mb is not None else ""
        lines.append(f"  {megabytes(row.size_mb)} MB{smaller}{memory}")
    return [*lines, *(f"  {line}" for line in further_figures(row))]


def front_sentence(view: StudyView, knee: TrialRow | None = None) -> str:
    """What the front is of, and what `pick` names of it."""
    count = len(view.front)
    counts = f"{count} of {sum(row.trial != 0 for row in view.rows)} trials"
    held = ", ".join(f"{name} {bound:g}" for name, bound in view.constraints.items())
    on = f" on {'every device' if view.device == WORST else view.device}" if view.device else ""
    text = f"{counts} are on the front of study {view.name}{on} ({duration(view.seconds)}{'; ' + held if held else ''})"
    if knee is None:
        return text
    off = (
        ""
        if knee.on_front
        else "; by what was measured it is off the front, by what is to be expected on other rows it is on it"
    )
    return f"{text}\n◆ what pick names where nothing else is asked, trial {knee.trial}{off}"


def nearest_sentence(none: NoneFits, constraints: Mapping[str, float | None]) -> str:
    """That nothing holds the constraints, what comes nearest to each that was broken, and what loosening would bring."""
    if not none.nearest:
        return "no trial is complete yet, so there is nothing to choose from"
    held = ", ".join(f"{name} {bound:g}" for name, bound in constraints.items() if bound is not None)
    misses = [
        f"trial {row.trial} is nearest to {name}, with {_missed(name, row)}" for name, row in none.nearest.items()
    ]
    ways = [f"{name} {loose.bound:g} (trial {loose.row.trial})" for name, loose in none.loosened.items()]
    way_out = f"enough would be {' or '.join(ways)}" if ways else "loosening one of them alone is not enough"
    return f"no trial holds {held}; {'; '.join(misses)}; {way_out}"


def why_sentences(why: Explanation, objectives: Sequence[str]) -> list[str]:
    """Why a trial was picked, what its neighbours trade, and what looser constraints would bring."""
    rule = BEST[why.prefer] if why.prefer else f"the knee: nearest to having the best {_and(objectives)} at once"
    lines = [f"why: of {counted(why.complete, 'model')}, {why.holding} hold the constraints; of those this is {rule}"]
    for near in why.neighbours:
        lines.append(f"  trial {near.row.trial} instead: {near.row.describe()}")
        lines.append(f"    {factor(near.faster, 'as fast')}, {factor(near.smaller, 'smaller')}, {_further(near.drop)}")
    for name, loose in why.loosened.items():
        row = loose.row
        lines.append(
            f"  with {name} {loose.bound:g} it would be trial {row.trial}: {ms(row.latency_ms or 0.0)} ms, "
            f"{megabytes(row.size_mb or 0.0)} MB, {_missed('max_drop', row)}"
        )
    return lines


def why_json(why: Explanation) -> dict[str, Any]:
    """The same as plain JSON types."""
    neighbours = [
        {"trial": near.row.trial, "better_in": list(near.better_in), "times_as_fast": near.faster,
         "times_smaller": near.smaller, "further_drop": near.drop}
        for near in why.neighbours
    ]  # fmt: skip
    return {"complete": why.complete, "holding": why.holding, "prefer": why.prefer, "neighbours": neighbours,
            "loosened": loosened_json(why.loosened)}  # fmt: skip


def loosened_json(loosened: Mapping[str, Loosened]) -> dict[str, Any]:
    """Constraint -> the bound that would do, and the trial that it would let in."""
    return {name: {"bound": loose.bound, "trial": loose.row.trial} for name, loose in loosened.items()}


def verdict_sentence(verdict: Verification) -> str:
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


def figures_sentences(figures: FolderMeasurement) -> list[str]:
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
        *([describe_operators(held["operators"])] if held.get("operators") else []),
        f"{held['runtime']} {held['runtime_version']}, {held['threads']} thread(s), batch {held['batch']}, "
        f"{held['tokens']} tokens, {held['cpu']}{noise}",
    ]


def further_figures(seen: FolderMeasurement | TrialRow) -> list[str]:
    """Cold caches, cold start and throughput, in one line; none where they were not taken."""
    if seen.cold_ms is None or seen.start_ms is None or seen.throughput is None:
        return []
    return [
        f"{ms(seen.cold_ms)} ms with cold caches; {seen.start_ms:.0f} ms from opening it to the first logits; "
        f"{seen.throughput:,.0f} texts per second in large batches"
    ]


def comparison_sentences(found: Comparison) -> list[str]:
    """Two trials in words, and the second beside the first."""
    studies = ("", "") if found.study_a == found.study_b else (f" of {found.study_a}", f" of {found.study_b}")
    lines = [
        f"{name}: trial {row.trial}{study}, {row.describe()}"
        for name, row, study in zip("AB", (found.a, found.b), studies, strict=True)
    ]
    surely = "surely" if found.drop_interval[0] > 0 or found.drop_interval[1] < 0 else "not surely"
    lines += [
        f"{found.metric} on test ({found.examples:,} rows): {points(found.quality_a)} and {points(found.quality_b)}; B loses"
        f" {drop_text(found.drop, found.drop_interval)} points against A, {surely} another",
        f"they disagree on {100 * found.disagreement:.1f} % of the rows; on {found.only_a_right:,} only A is right, on"
        f" {found.only_b_right:,} only B (p = {found.p_value:.2g}, McNemar)",
    ]
    if found.faster is not None and found.faster_interval is not None:
        low, high = found.faster_interval
        lines.append(f"B is {found.faster:.2f}× ({low:.2f}…{high:.2f}) as fast as A")
    sizes = [megabytes(row.size_mb or 0.0) for row in (found.a, found.b)]
    return [*lines, f"{sizes[0]} and {sizes[1]} MB: B is {factor(found.smaller, 'smaller')}"]


def front_comparison_sentences(found: FrontComparison) -> list[str]:
    """How much two fronts cover."""
    teachers = (
        "the same teacher" if found.same_teacher else "different teachers: drops and factors are against each one's own"
    )
    held = "" if found.max_drop is None else f", of those that hold a drop of {points(found.max_drop)} points"
    return [
        *(
            f"{name}: {one.study}, {counted(one.models, 'model')} on the front, {duration(one.seconds)}"
            for name, one in (("A", found.a), ("B", found.b))
        ),
        teachers,
        f"hypervolume (points × octaves², against the teacher): A {found.hypervolume_a:.1f}, B {found.hypervolume_b:.1f}",
        f"A has a model that is nowhere worse for {100 * found.coverage_a:.0f} % of B's front, B for"
        f" {100 * found.coverage_b:.0f} % of A's",
        f"what pick names{held}:",
    ]


def reproduction_sentences(row: TrialRow, checks: Sequence[Check], changed: Sequence[str]) -> list[str]:
    """What was compared after a trial was done again, and what may be the reason of differences."""
    width = max(len(check.what) for check in checks)
    lines = [f"trial {row.trial}: {row.describe()}"]
    for check in checks:
        now = "the same" if check.before == check.now else f"now {check.now}" + ("" if check.agrees else ": another")
        lines.append(f"{'✓' if check.agrees else '!'} {check.what:{width}}  {check.before}, {now}")
    lines += [f"  since then: {', '.join(changed)}"] if changed else []
    good = all(check.agrees for check in checks)
    return [*lines, "reproduced: all is equal, or within its interval" if good else "not reproduced in all"]


def cleaning_sentences(cleanings: Sequence[Cleaning], done: bool) -> list[str]:
    """What was or would be removed of each study."""
    lines = [
        f"{cleaning.study}: {'removed' if done else 'would remove'} {counted(len(cleaning.folders), cleaning.what)}, "
        f"{disk_space(cleaning.bytes)}"
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


def _and(words: Sequence[str]) -> str:
    named = [word.removesuffix("_ms").removesuffix("_mb") for word in words]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _further(drop: float) -> str:
    """A difference of expected drops."""
    if abs(drop) < 0.0005:
        return "the same drop to be expected"
    return f"{points(abs(drop))} points {'more' if drop > 0 else 'less'} to be lost, by expectation"


def _missed(name: str, row: TrialRow) -> str:
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
