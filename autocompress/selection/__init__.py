"""The arithmetic of fronts: which trials dominate, how much a front covers, and which model to recommend.

Pure functions of rows, with numpy and moocore alone. A *drop* is a fraction (0.01 = 1 point); the hypervolume counts points.

| module | subject |
|---|---|
| constraints | violations of `max_drop`, `max_latency_ms`, `max_size_mb`, `max_download_mb` |
| dominance | front, hypervolume, knee |
| hypervolume_growth, early_stopping | the hypervolume over time, and when a search stops |
| drop_estimate | the drop to expect on other rows than the measured ones |
| undecided_models | which models are compared with the teacher on more rows |
| tied_models | models that the measurements cannot distinguish |
| picking, explanation | the recommended model, and why that one (on judged_models and loosened_constraints) |
| promotion, choice_promotion | which candidates are trained further |
| comparison, front_comparison | two trials, two fronts |
| worst_device | several devices as one |
| latency_model | latency of candidates that were not built |
"""

from __future__ import annotations

from autocompress.selection.beaten_teacher import beating_trials
from autocompress.selection.choice_promotion import Prospect, prospects
from autocompress.selection.comparison import Check, Comparison, mcnemar, ratio_interval
from autocompress.selection.constraints import BOUNDED, Constraints, broken, violations
from autocompress.selection.dominance import AXES, Reference, hypervolume, knee, on_front, reference_point
from autocompress.selection.drop_estimate import ExpectedDrop, as_expected, choice_precision, expected_drop
from autocompress.selection.explanation import Explanation, explain
from autocompress.selection.front_comparison import ComparedFront, FrontComparison, compare_fronts
from autocompress.selection.hypervolume_growth import growth
from autocompress.selection.loosened_constraints import Loosened
from autocompress.selection.picking import NoneFits, Picked, pick
from autocompress.selection.promotion import Promotion, Rungs, beyond_trained, promotions, standings
from autocompress.selection.tied_models import find_ties
from autocompress.selection.undecided_models import next_comparisons
from autocompress.selection.worst_device import WORST, combine_worst

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
    "Prospect",
    "Reference",
    "Rungs",
    "as_expected",
    "beating_trials",
    "beyond_trained",
    "broken",
    "choice_precision",
    "combine_worst",
    "compare_fronts",
    "expected_drop",
    "explain",
    "find_ties",
    "growth",
    "hypervolume",
    "knee",
    "mcnemar",
    "next_comparisons",
    "on_front",
    "pick",
    "promotions",
    "prospects",
    "ratio_interval",
    "reference_point",
    "standings",
    "violations",
]
