"""What people see: tables and sentences of results, and the display of a search that runs.

Modules: numbers (how one number is written), tables, sentences, picture (a front drawn in characters), budget (how far a
search is), progress (its display).
"""

from __future__ import annotations

from rich.console import Console

from autocompress.core.formatting import duration, megabytes, ms, points, times
from autocompress.interfaces.rendering.front_picture import FrontPicture
from autocompress.interfaces.rendering.sentences import (
    cleaning_sentences,
    comparison_sentences,
    figures_sentences,
    finding_lines,
    front_comparison_sentences,
    front_sentence,
    inventory_lines,
    loosened_json,
    nearest_sentence,
    reproduction_sentences,
    row_sentences,
    verdict_sentence,
    why_json,
    why_sentences,
)
from autocompress.interfaces.rendering.tables import LEGEND, front_comparison_table, front_table, trials_table

__all__ = [
    "LEGEND",
    "WIDTH",
    "FrontPicture",
    "cleaning_sentences",
    "comparison_sentences",
    "console",
    "duration",
    "figures_sentences",
    "finding_lines",
    "front_comparison_sentences",
    "front_comparison_table",
    "front_sentence",
    "front_table",
    "inventory_lines",
    "loosened_json",
    "megabytes",
    "ms",
    "nearest_sentence",
    "points",
    "reproduction_sentences",
    "row_sentences",
    "times",
    "trials_table",
    "verdict_sentence",
    "why_json",
    "why_sentences",
]

WIDTH = 100  # columns that the tables are made for; also the width where there is no terminal


def console(stderr: bool = False, no_color: bool = False) -> Console:
    """A rich console: as wide as the terminal, or 100 columns where there is none. NO_COLOR=1 is honoured."""
    made = Console(stderr=stderr, no_color=no_color or None, highlight=False)
    if not made.is_terminal:
        made.width = WIDTH
    return made
