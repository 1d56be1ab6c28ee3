"""The arithmetic of fronts: who dominates whom, how much a front covers, and which model to recommend.

Pure functions of rows; numpy and moocore, nothing else. A *drop* is a fraction (0.01 = 1 point); the hypervolume counts
points. Modules: comparison (two trials), contest (two
fronts), constraints, dominance (front, hypervolume, knee), expectation (what a noisy drop
promises for other rows), growth, picking, promotion (which candidates are worth more training), robust (several devices as
one), ties (what measurements cannot tell apart).
"""

from __future__ import annotations

from autocompress.selection.comparison import Check, Comparison, mcnemar, ratio_interval
from autocompress.selection.constraints import BOUNDED, Constraints, broken, violations
from autocompress.selection.dominance import AXES, Reference, hypervolume, knee, on_front, reference_point
from autocompress.selection.expected_drop import ExpectedDrop, expected_drop
from autocompress.selection.front_comparison import ComparedFront, FrontComparison, compare_fronts
from autocompress.selection.hypervolume_growth import growth
from autocompress.selection.picking import Explanation, Loosened, NoneFits, Picked, as_expected, explain, pick
from autocompress.selection.promotion import Promotion, Rungs, promotions, standings
from autocompress.selection.ties import ties
from autocompress.selection.worst_device import WORST, worst

__all__ = [
    "AXES",
    "BOUNDED",
    "WORST",
    "Check",
    "ComparedFront",
    "Comparison",
    "Constraints",
    "ExpectedDrop",
    "Explanation",
    "FrontComparison",
    "Loosened",
    "NoneFits",
    "Picked",
    "Promotion",
    "Reference",
    "Rungs",
    "as_expected",
    "broken",
    "compare_fronts",
    "expected_drop",
    "explain",
    "growth",
    "hypervolume",
    "knee",
    "mcnemar",
    "on_front",
    "pick",
    "promotions",
    "ratio_interval",
    "reference_point",
    "standings",
    "ties",
    "violations",
    "worst",
]
