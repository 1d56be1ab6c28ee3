"""Describe comparisons in sentences: two trials, two fronts, a trial and its reproduction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autocompress.core.formatting import counted, drop_text, duration, factor, megabytes, points
from autocompress.core.trial_row import TrialRow

if TYPE_CHECKING:
    from autocompress.actions.refresh import Refreshed
    from autocompress.selection import Check, Comparison, FrontComparison


def comparison_sentences(comparison: Comparison) -> list[str]:
    """Describe two trials, and the second beside the first."""
    return [*_trial_lines(comparison), *_difference_lines(comparison)]


def refresh_price(seconds: float, file: str) -> str:
    """Describe what a refresh will take."""
    return f"refreshing takes about {duration(seconds)}, in a study of its own: {file}"


def refresh_sentences(refreshed: Refreshed) -> list[str]:
    """Describe a refreshed model beside what it was, and say which one is better."""
    comparison, (study, trial) = refreshed.comparison, refreshed.origin
    drops = [
        "not measured" if row.test_drop is None else f"{drop_text(row.test_drop, row.test_drop_interval)} points"
        for row in (comparison.a, comparison.b)
    ]
    verdicts = {
        "new": "verdict: the refreshed model is better; take it",
        "old": "verdict: the refreshed model is worse; keep the model as it was, or give it more --time",
        "open": f"verdict: on {comparison.examples:,} rows neither is better than the other",
    }
    return [
        f"A: trial {trial} of {study} as it was: {comparison.a.recipe.describe()}",
        f"B: the same model, trained further in {duration(refreshed.seconds)} in all (trial {comparison.b.trial})",
        *_difference_lines(comparison),
        f"drop on test against the teacher of now: A {drops[0]}, B {drops[1]}",
        verdicts[refreshed.verdict],
    ]


def _difference_lines(comparison: Comparison) -> list[str]:
    sizes = [megabytes(row.size_mb or 0.0) for row in (comparison.a, comparison.b)]
    lines = [_quality_line(comparison), _disagreement_line(comparison)]
    if comparison.faster is not None and comparison.faster_interval is not None:
        low, high = comparison.faster_interval
        lines.append(f"B is {comparison.faster:.2f}× ({low:.2f}…{high:.2f}) as fast as A")
    difference = "they are of one size" if sizes[0] == sizes[1] else f"B is {factor(comparison.smaller, 'smaller')}"
    return [*lines, f"size: A {sizes[0]} MB, B {sizes[1]} MB; {difference}"]


def _quality_line(comparison: Comparison) -> str:
    low, high = comparison.drop_interval
    loss = drop_text(comparison.drop, comparison.drop_interval)
    significance = "significant" if low > 0 or high < 0 else "not significant"
    return (
        f"{comparison.metric} on test ({comparison.examples:,} rows): A {points(comparison.quality_a)}, "
        f"B {points(comparison.quality_b)}; B loses {loss} points against A ({significance})"
    )


def _disagreement_line(comparison: Comparison) -> str:
    disagreement = f"they disagree on {100 * comparison.disagreement:.1f} % of the rows"
    if comparison.only_a_right is None or comparison.only_b_right is None or comparison.p_value is None:
        return disagreement
    return (
        f"{disagreement}; only A is right on "
        f"{counted(comparison.only_a_right, 'row')}, only B on {counted(comparison.only_b_right, 'row')} "
        f"(McNemar's test: p = {comparison.p_value:.2g})"
    )


def _trial_lines(comparison: Comparison) -> list[str]:
    studies = ("", "")
    if comparison.study_a != comparison.study_b:
        studies = (f" of {comparison.study_a}", f" of {comparison.study_b}")
    return [
        f"{name}: trial {row.trial}{study}, {row.describe()}"
        for name, row, study in zip("AB", (comparison.a, comparison.b), studies, strict=True)
    ]


def front_comparison_sentences(comparison: FrontComparison) -> list[str]:
    """Describe the size of two fronts and how much each covers of the other."""
    teachers = "the same teacher"
    if not comparison.same_teacher:
        teachers = "different teachers: drops and factors are relative to each study's own teacher"
    limit = "" if comparison.max_drop is None else f" with a drop of at most {points(comparison.max_drop)} points"
    return [
        *(
            f"{name}: {study.study}, {counted(study.models, 'model')} on the front, {duration(study.seconds)}"
            for name, study in (("A", comparison.a), ("B", comparison.b))
        ),
        teachers,
        f"hypervolume relative to the teacher (points × octaves²): A {comparison.hypervolume_a:.1f}, "
        f"B {comparison.hypervolume_b:.1f}",
        f"A has a model that is at least as good for {100 * comparison.coverage_a:.0f} % of B's front, B for "
        f"{100 * comparison.coverage_b:.0f} % of A's front",
        f"pick chooses{limit}:",
    ]


def reproduction_sentences(row: TrialRow, checks: Sequence[Check], changed: Sequence[str]) -> list[str]:
    """Compare both runs of a trial, and name changed conditions that may explain differences."""
    width = max(len(check.what) for check in checks)
    lines = [f"trial {row.trial}: {row.describe()}"]
    for check in checks:
        mark = "✓" if check.agrees else "!"
        lines.append(f"{mark} {check.what:{width}}  {check.before}, {_second_value(check)}")
    lines += [f"  changed since the first run: {', '.join(changed)}"] if changed else []
    differing = sum(not check.agrees for check in checks)
    if differing:
        return [*lines, f"not reproduced: {differing} of {len(checks)} results differ"]
    return [*lines, "reproduced: every result is equal or within its interval"]


def _second_value(check: Check) -> str:
    if check.before == check.now:
        return "the same again"
    return f"now {check.now}: {'within the interval' if check.agrees else 'differs'}"
